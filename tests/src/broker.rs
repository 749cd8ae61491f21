use std::{fs, net::TcpStream, path::Path, process::Command};

use crate::{Process, free_port, printed, wait_until};

/// A real Mosquitto without TLS, the upstream.
#[derive(Debug)]
pub struct Broker {
    process: Process,
    port: u16,
    ws_port: u16,
}

impl Broker {
    /// Starts it with a plain and a WebSocket listener on free loopback ports.
    pub fn start(folder: &Path) -> Self {
        for _ in 0..10 {
            let (port, ws_port) = (free_port(), free_port());
            let mut broker = Self { process: Self::launch(folder, port, ws_port), port, ws_port };
            let up = wait_until("Mosquitto", || {
                if !broker.process.is_running() {
                    return Some(false);
                }
                let listening =
                    [port, ws_port].iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok());
                listening.then_some(true)
            });
            if up {
                return broker;
            }
        }
        panic!("Mosquitto did not start");
    }

    fn launch(folder: &Path, port: u16, ws_port: u16) -> Process {
        let file = folder.join("mosquitto.conf");
        let mut text = printed("docs/broker-recipes.md", "# /etc/mosquitto/conf.d/certward.conf")
            .replace("1883", &port.to_string())
            .replace("8083", &ws_port.to_string());
        text.push_str("log_dest stderr\nlog_type all\nmax_connections -1\n");
        // As root, Mosquitto changes to a user who cannot read the test's folder.
        if rustix::process::getuid().is_root() {
            text.push_str("user root\n");
        }
        fs::write(&file, text).unwrap();
        let program =
            if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
        Process::start("mosquitto", folder, Command::new(program).arg("-c").arg(&file))
    }

    /// Starts it again on the same ports.
    pub fn start_again(&mut self, folder: &Path) {
        self.process = Self::launch(folder, self.port, self.ws_port);
        wait_until("Mosquitto, again", || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    /// `HOST:PORT` of the plain MQTT listener.
    pub fn upstream(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `HOST:PORT` of the WebSocket listener.
    pub fn ws_upstream(&self) -> String {
        format!("127.0.0.1:{}", self.ws_port)
    }

    /// Its log.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}
