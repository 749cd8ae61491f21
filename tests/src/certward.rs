use std::{
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output},
};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{Api, Process, certward_binary, free_port, run, wait_until};

/// certward's configuration.
#[derive(Debug, Clone)]
pub struct Setup {
    /// GETs per window; no test reaches the default.
    pub reads: u32,
    /// POSTs, PUTs and DELETEs per window; and rollbacks, and changes of client CAs.
    pub changes: u32,
    /// Deadline of the proof of a change.
    pub prove_within: &'static str,
    /// Duration of the drain.
    pub drain: &'static str,
    /// Log level.
    pub log_level: &'static str,
    /// PostgreSQL URL; the embedded store if absent.
    pub store: Option<String>,
    /// The node's role, if not `all`.
    pub role: Option<&'static str>,
    /// For clients with no or an unknown SNI.
    pub default_deployment: Option<&'static str>,
    /// Connection limit per address.
    pub connections_per_address: Option<u32>,
    /// What is kept of devices, if not `full`.
    pub devices: Option<&'static str>,
    /// The load balancer's network before the shared `mqtts` listener.
    pub proxy_protocol_from: Option<&'static str>,
    /// Adds an `mqtts` listener bound to this deployment.
    pub bound_deployment: Option<&'static str>,
    /// Metrics of each deployment.
    pub per_deployment_metrics: bool,
    /// The networks of alerts, and the file of the CAs that their receivers are trusted by.
    pub alerts: Option<(&'static str, PathBuf)>,
    /// Certificate and key of the API's HTTPS.
    pub api_certificate: Option<(PathBuf, PathBuf)>,
    /// The data folder, if outside the test's.
    pub data: Option<PathBuf>,
    /// A wrapper's command line.
    pub through: &'static [&'static str],
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            reads: 1_000_000,
            changes: 1_000_000,
            prove_within: "30s",
            drain: "0s",
            log_level: "debug",
            store: None,
            role: None,
            default_deployment: None,
            connections_per_address: None,
            devices: None,
            proxy_protocol_from: None,
            bound_deployment: None,
            per_deployment_metrics: false,
            alerts: None,
            api_certificate: None,
            data: None,
            through: &[],
        }
    }
}

impl Setup {
    /// The limits of the contract.
    pub fn with_contract_limits() -> Self {
        Self { reads: 60, changes: 6, ..Self::default() }
    }
}

/// A running certward, on the same ports across restarts.
#[derive(Debug)]
pub struct Certward {
    // Dropped first: the program must end before its folder is removed.
    process: Option<Process>,
    setup: Setup,
    ports: [u16; 4],
    /// Whether it has served on these ports: no other process can have taken them before.
    has_served: bool,
    admin: Option<(String, String)>,
    folder: TempDir,
}

impl Certward {
    /// Initialises a new store and serves.
    pub fn start() -> Self {
        Self::start_with(Setup::default())
    }

    /// As [`Certward::start`], with this setup.
    pub fn start_with(setup: Setup) -> Self {
        let mut certward = Self::prepare(setup);
        let output = certward.run_init(&[]);
        assert!(output.status.success(), "init: {}", String::from_utf8_lossy(&output.stderr));
        let key: Value = serde_json::from_slice(&output.stdout).expect("init prints one JSON object");
        let text = |name: &str| key[name].as_str().expect("a text").to_owned();
        certward.admin = Some((text("apiKey"), text("secretKey")));
        certward.serve();
        certward
    }

    /// Serves as another node, with the store and master key of `first`.
    pub fn start_beside(first: &Self, setup: Setup) -> Self {
        let mut node = Self::prepare(setup);
        fs::create_dir_all(node.data()).unwrap();
        fs::set_permissions(node.data(), fs::Permissions::from_mode(0o700)).unwrap();
        fs::copy(first.data().join("master.key"), node.data().join("master.key")).unwrap();
        node.admin.clone_from(&first.admin);
        node.serve();
        node
    }

    /// Creates the folder and the configuration only.
    pub fn prepare(setup: Setup) -> Self {
        let folder = TempDir::with_prefix("certward-test-").unwrap();
        let mut certward =
            Self { process: None, setup, ports: [0; 4], has_served: false, admin: None, folder };
        certward.choose_ports();
        certward
    }

    fn choose_ports(&mut self) {
        self.ports = std::array::from_fn(|_| free_port());
        self.has_served = false;
        fs::write(self.config(), self.configuration()).unwrap();
    }

    fn configuration(&self) -> String {
        let (setup, [api, mqtts, wss, bound]) = (&self.setup, self.ports);
        let mut text = format!("data_dir = {:?}\n", self.data());
        if let Some(store) = &setup.store {
            writeln!(text, "store = {store:?}").unwrap();
        }
        if let Some(role) = setup.role {
            writeln!(text, "role = {role:?}").unwrap();
        }
        writeln!(text, "[api]\nlisten = \"127.0.0.1:{api}\"").unwrap();
        if let Some((cert, key)) = &setup.api_certificate {
            writeln!(text, "cert = {cert:?}\nkey = {key:?}").unwrap();
        }
        writeln!(text, "[gateway]\nprove_within = {:?}\ndrain = {:?}", setup.prove_within, setup.drain)
            .unwrap();
        if let Some(deployment) = setup.default_deployment {
            writeln!(text, "default_deployment = {deployment:?}").unwrap();
        }
        if let Some(devices) = setup.devices {
            writeln!(text, "devices = {devices:?}").unwrap();
        }
        if let Some(most) = setup.connections_per_address {
            writeln!(text, "connections_per_address = {most}").unwrap();
        }
        writeln!(text, "[[gateway.listener]]\nlisten = \"127.0.0.1:{mqtts}\"\nprotocol = \"mqtts\"").unwrap();
        if let Some(network) = setup.proxy_protocol_from {
            writeln!(text, "proxy_protocol_from = [{network:?}]").unwrap();
        }
        writeln!(text, "[[gateway.listener]]\nlisten = \"127.0.0.1:{wss}\"\nprotocol = \"wss\"").unwrap();
        if let Some(deployment) = setup.bound_deployment {
            writeln!(text, "[[gateway.listener]]\nlisten = \"127.0.0.1:{bound}\"\nprotocol = \"mqtts\"")
                .unwrap();
            writeln!(text, "deployment = {deployment:?}").unwrap();
        }
        let (reads, changes) = (setup.reads, setup.changes);
        writeln!(text, "[limits]\nreads = {reads}\nchanges = {changes}\nrollbacks = {changes}").unwrap();
        writeln!(text, "client_cas = {changes}").unwrap();
        if let Some((network, ca_file)) = &setup.alerts {
            writeln!(text, "[alerts]\nalert_allow = [{network:?}]\nca_file = {ca_file:?}").unwrap();
        }
        writeln!(text, "[log]\nlevel = {:?}", setup.log_level).unwrap();
        if setup.per_deployment_metrics {
            writeln!(text, "[metrics]\nper_deployment = true").unwrap();
        }
        text
    }

    /// Sets a PostgreSQL database as the store.
    pub fn use_store(&mut self, url: String) {
        self.setup.store = Some(url);
        fs::write(self.config(), self.configuration()).unwrap();
    }

    /// Sets the role.
    pub fn use_role(&mut self, role: &'static str) {
        self.setup.role = Some(role);
        fs::write(self.config(), self.configuration()).unwrap();
    }

    /// Sets the wrapper's command line.
    pub fn use_through(&mut self, through: &'static [&'static str]) {
        self.setup.through = through;
    }

    /// Serves, again or for the first time, on the same ports.
    pub fn serve(&mut self) {
        for attempt in 1.. {
            self.process = Some(self.launch(&[]));
            if self.wait_ready() {
                return;
            }
            // A port can be taken before certward binds it, but only at the first start.
            assert!(attempt < 5, "certward does not start:\n{}", self.log());
            if attempt > 1 {
                self.choose_ports();
            }
        }
    }

    /// Starts a process that takes over; returns the old one, which drains.
    pub fn take_over(&mut self) -> Process {
        let before = self.log().matches(Self::TAKEN_OVER).count();
        let mut next = self.launch(&["--takeover"]);
        wait_until("a takeover", || {
            assert!(next.is_running(), "it has ended:\n{}", next.output());
            (next.count(Self::TAKEN_OVER) > before).then_some(())
        });
        self.process.replace(next).expect("it ran")
    }

    /// Logged when the old process accepts no more.
    const TAKEN_OVER: &str = "taken over: the process before accepts nothing any more";

    /// Starts a process that would take over, with this configuration.
    pub fn run_takeover(&self, config: &Path) -> Output {
        let mut command = Command::new(certward_binary());
        command.args(["serve", "--takeover", "--config"]).arg(config);
        without_variables(&mut command);
        run(&mut command)
    }

    fn launch(&self, arguments: &[&str]) -> Process {
        let mut command = match self.setup.through {
            [] => Command::new(certward_binary()),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(certward_binary());
                command
            }
        };
        command.arg("serve").arg("--config").arg(self.config()).args(arguments);
        without_variables(&mut command);
        command.env("RUST_BACKTRACE", "1");
        Process::start("certward", self.folder(), &mut command)
    }

    fn wait_ready(&mut self) -> bool {
        let (mut process, api) = (self.process.take().expect("launched"), self.api_unchecked());
        let https = self.setup.api_certificate.is_some();
        let may_be_anothers = !self.has_served && self.admin.is_some();
        let ready = wait_until("readiness of certward", || {
            if !process.is_running() {
                return Some(false);
            }
            let up = if https {
                std::net::TcpStream::connect(api.address).is_ok()
            } else {
                let status = |path| api.try_send_at("GET", path, "", "").map(|answer| answer.status);
                status("/readyz").is_ok_and(|ready| ready == 200)
                    // Another test's certward on the port refuses this key; no limit counts it.
                    && !(may_be_anothers && status("/public_api/v1/none").is_ok_and(|of| of == 401))
            };
            up.then_some(true)
        });
        self.process = Some(process);
        self.has_served = ready;
        ready
    }

    /// Runs `certward init`.
    pub fn run_init(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(certward_binary());
        command.arg("init").arg("--json").arg("--config").arg(self.config()).args(arguments);
        without_variables(&mut command);
        run(&mut command)
    }

    /// The command line with address and key in its environment.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        run(&mut self.cli_command(arguments))
    }

    /// As [`Certward::cli`], not started.
    pub fn cli_command(&self, arguments: &[&str]) -> Command {
        let api = self.api();
        let mut command = Command::new(certward_binary());
        without_variables(&mut command);
        command.args(arguments).current_dir(self.folder());
        command.env("CERTWARD_URL", api.base());
        command.env("CERTWARD_API_KEY", &api.key).env("CERTWARD_SECRET_KEY", &api.secret);
        command
    }

    /// The program without address and key.
    pub fn cli_without_key(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(certward_binary());
        without_variables(&mut command);
        command.args(arguments).current_dir(self.folder());
        command
    }

    /// SIGTERM, and waits for the exit.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.process.as_mut().expect("it runs").wait()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("it runs").signal(signal);
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.as_mut().expect("it runs").kill();
    }

    /// The running process.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it runs")
    }

    /// An API client with the admin key.
    pub fn api(&self) -> Api {
        assert!(self.admin.is_some(), "the store is not initialised");
        self.api_unchecked()
    }

    /// An API client with the admin key of the store that this one's is a copy of.
    pub fn api_with_key_of(&self, other: &Self) -> Api {
        Api { address: local(self.ports[0]), ..other.api() }
    }

    fn api_unchecked(&self) -> Api {
        let (key, secret) = self.admin.clone().unwrap_or_default();
        Api { address: local(self.ports[0]), key, secret }
    }

    /// The address of the shared `mqtts` listener.
    pub fn mqtts(&self) -> SocketAddr {
        local(self.ports[1])
    }

    /// The address of the shared `wss` listener.
    pub fn wss(&self) -> SocketAddr {
        local(self.ports[2])
    }

    /// The address of the bound listener.
    pub fn bound(&self) -> SocketAddr {
        local(self.ports[3])
    }

    /// PostgreSQL's URL.
    pub fn store_url(&self) -> String {
        self.setup.store.clone().expect("a PostgreSQL store")
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder().join("certward.toml")
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.setup.data.clone().unwrap_or_else(|| self.folder().join("data"))
    }

    /// The test's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The log of all its starts.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::output).unwrap_or_default()
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn without_variables(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CERTWARD_")) {
        command.env_remove(name);
    }
}
