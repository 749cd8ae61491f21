use std::{fs, net::TcpStream, path::Path, process::Command};

use crate::{Process, free_port, wait_until};

/// HAProxy before a broker: expects a PROXY header, and logs what the header says.
#[derive(Debug)]
pub struct HaProxy {
    process: Process,
    port: u16,
}

impl HaProxy {
    /// Before the broker at this address; its lines begin with `from=ADDRESS name=AUTHORITY`.
    pub fn before(broker: &str, folder: &Path) -> Self {
        let port = free_port();
        let configuration = format!(
            "global\n  log stdout format raw local0\ndefaults\n  mode tcp\n  timeout client 30s\n  timeout server 30s\n  \
             timeout connect 5s\nlisten mqtt\n  bind 127.0.0.1:{port} accept-proxy\n  log global\n  option logasap\n  \
             log-format \"from=%ci name=%[fc_pp_authority]\"\n  server broker {broker}\n"
        );
        let file = folder.join("haproxy.cfg");
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new("/usr/sbin/haproxy");
        let process = Process::start("haproxy", folder, command.arg("-db").arg("-f").arg(file));
        wait_until("HAProxy", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { process, port }
    }

    /// Its address, as an upstream.
    pub fn upstream(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its output.
    pub fn process(&self) -> &Process {
        &self.process
    }
}
