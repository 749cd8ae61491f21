use std::{
    fs,
    net::TcpStream,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::{Process, free_port, printed, wait_until, wait_within};

/// A RabbitMQ node with its own port mapper (epmd), configured as docs/broker-recipes.md prints it:
/// its MQTT and WebSocket listeners expect a PROXY header. Debian's service is not used.
#[derive(Debug)]
pub struct RabbitMq {
    node: Process,
    // Dropped after the node.
    _mapper: Process,
    port: u16,
    ws_port: u16,
}

impl RabbitMq {
    /// Starts a node on free loopback ports, with all files in `folder`.
    pub fn start(folder: &Path) -> Self {
        let folder = folder.join("rabbitmq");
        fs::create_dir(&folder).unwrap();
        let mapper_port = free_port();
        let mut mapper = Command::new("epmd");
        mapper.args(["-address", "127.0.0.1", "-port", &mapper_port.to_string()]);
        let mapper = Process::start("epmd", &folder, &mut mapper);
        wait_until("epmd", || TcpStream::connect(("127.0.0.1", mapper_port)).ok());

        let ports @ [port, ws_port] = [free_port(), free_port()];
        let node = Process::start("rabbitmq", &folder, &mut Self::command(&folder, ports, mapper_port));
        let mut broker = Self { node, _mapper: mapper, port, ws_port };
        wait_within(Duration::from_secs(90), "RabbitMQ", || {
            assert!(broker.node.is_running(), "RabbitMQ has ended");
            let listens = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
            (listens(port) && listens(ws_port)).then_some(())
        });
        broker
    }

    fn command(folder: &Path, [port, ws_port]: [u16; 2], mapper_port: u16) -> Command {
        let (plugins, configuration) = (folder.join("enabled_plugins"), folder.join("rabbitmq.conf"));
        fs::write(&plugins, "[rabbitmq_mqtt, rabbitmq_web_mqtt].\n").unwrap();
        let printed = printed("docs/broker-recipes.md", "# /etc/rabbitmq/rabbitmq.conf")
            .replace("1883", &port.to_string())
            .replace("8083", &ws_port.to_string());
        let of_the_test = "listeners.tcp = none\nmqtt.allow_anonymous = true\nlog.console = true\n\
                           log.console.level = info\nlog.file = false\n";
        fs::write(&configuration, printed + of_the_test).unwrap();
        let mut command = Command::new(Self::program());
        // A child of a shell script: the process group ends both.
        command
            .process_group(0)
            .current_dir(folder)
            .env("HOME", folder)
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_NODENAME", "certward@localhost")
            .env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", folder.join("log"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", plugins)
            .env("RABBITMQ_CONFIG_FILE", configuration)
            .env("RABBITMQ_DIST_PORT", free_port().to_string())
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", mapper_port.to_string());
        command
    }

    /// The script in PATH insists on Debian's user and folders.
    fn program() -> PathBuf {
        let versions = fs::read_dir("/usr/lib/rabbitmq/lib").expect("Debian's package rabbitmq-server");
        let mut scripts = versions.flatten().map(|version| version.path().join("sbin/rabbitmq-server"));
        scripts.find(|script| script.exists()).expect("RabbitMQ's own script")
    }

    /// `HOST:PORT` of the MQTT listener.
    pub fn upstream(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `HOST:PORT` of the WebSocket listener.
    pub fn ws_upstream(&self) -> String {
        format!("127.0.0.1:{}", self.ws_port)
    }

    /// Waits for `text` in its log.
    pub fn wait_for(&self, text: &str) {
        self.node.wait_for(text, 1);
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.node.id()).ok().and_then(Pid::from_raw) {
            // Ignored: it may have exited.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
