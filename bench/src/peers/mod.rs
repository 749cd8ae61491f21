//! Each server in its own process with one worker on its own core.

mod certward;
mod forwarder;
pub(crate) mod haproxy;
pub(crate) mod hitch;
mod mosquitto;
pub(crate) mod nginx;
pub(crate) mod seed;
mod stunnel;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use certward_tests::{free_port, run};
use clap::ValueEnum;

pub(crate) use self::{
    certward::new_certward,
    forwarder::{Forward, forward},
};
use crate::{
    load::client::Endpoint,
    load::credentials::{Credential, Credentials, ONE_WAY, RSA, TWO_WAY},
    load::workload::{Listener, Workload},
    process::meter::Meter,
    process::program::Program,
};

/// A server, and how it is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Peer {
    /// The program itself
    Certward,
    /// nginx's stream module
    Nginx,
    /// The same with AES-128-GCM alone and one ticket
    NginxTuned,
    /// HAProxy in TCP mode
    Haproxy,
    /// The same with AES-128-GCM alone
    HaproxyTuned,
    /// stunnel
    Stunnel,
    /// hitch
    Hitch,
    /// Mosquitto's own TLS
    Mosquitto,
    /// tokio-rustls and `copy_bidirectional`, no more
    Rustls,
    /// A relay of plain TCP that holds no buffers: what no relay can go below
    Plain,
}

pub(crate) struct Server {
    pub(crate) peer: Peer,
    endpoints: Endpoints,
    meter: Meter,
    running: Running,
}

enum Running {
    Program(Program),
    Certward(Box<certward_tests::Certward>),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Endpoints {
    pub(crate) one_way: SocketAddr,
    pub(crate) two_way: SocketAddr,
    pub(crate) rsa: SocketAddr,
}

pub(crate) struct Stage<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) credentials: &'a Credentials,
    pub(crate) broker: SocketAddr,
}

impl Peer {
    pub(crate) const ALL: [Self; 10] = [
        Self::Certward,
        Self::Rustls,
        Self::NginxTuned,
        Self::Nginx,
        Self::HaproxyTuned,
        Self::Haproxy,
        Self::Mosquitto,
        Self::Hitch,
        Self::Stunnel,
        Self::Plain,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Certward => "certward",
            Self::Nginx => "nginx",
            Self::NginxTuned => "nginx tuned",
            Self::Haproxy => "haproxy",
            Self::HaproxyTuned => "haproxy tuned",
            Self::Stunnel => "stunnel",
            Self::Hitch => "hitch",
            Self::Mosquitto => "mosquitto",
            Self::Rustls => "bare rustls",
            Self::Plain => "no TLS",
        }
    }

    /// With Debian's settings.
    pub(crate) fn is_peer(self) -> bool {
        matches!(self, Self::Nginx | Self::Haproxy | Self::Stunnel | Self::Hitch | Self::Mosquitto)
    }

    /// Tuned for speed.
    pub(crate) fn is_tuned(self) -> bool {
        matches!(self, Self::NginxTuned | Self::HaproxyTuned)
    }

    pub(crate) fn takes(self, workload: Workload) -> bool {
        match workload {
            _ if self == Self::Plain => {
                matches!(workload, Workload::Throughput | Workload::Small | Workload::Idle)
            }
            // OpenSSL 3.0 has no X25519MLKEM768.
            Workload::Hybrid => matches!(self, Self::Certward | Self::Rustls),
            // Others do not cache verified certificates.
            Workload::TwoWayFirst => matches!(self, Self::Certward | Self::Rustls | Self::NginxTuned),
            // Relays nothing.
            Workload::Throughput | Workload::Small => self != Self::Mosquitto,
            _ => true,
        }
    }

    pub(crate) fn version(self) -> String {
        match self {
            Self::Certward => first_line(Command::new(certward_tests::certward_binary()).arg("--version")),
            Self::Nginx | Self::NginxTuned => nginx::version(),
            Self::Haproxy | Self::HaproxyTuned => haproxy::version(),
            Self::Stunnel => stunnel::version(),
            Self::Hitch => hitch::version(),
            Self::Mosquitto => mosquitto::version(),
            Self::Rustls | Self::Plain => forwarder::version(),
        }
    }
}

impl Server {
    /// Again if the port was taken before its bind.
    pub(crate) fn start(peer: Peer, stage: &Stage<'_>) -> Result<Self> {
        const TRIES: usize = 3;
        for _ in 1..TRIES {
            match Self::try_start(peer, stage) {
                Ok(server) => return Ok(server),
                Err(error) => eprintln!("{error:#}"),
            }
        }
        Self::try_start(peer, stage)
    }

    fn try_start(peer: Peer, stage: &Stage<'_>) -> Result<Self> {
        let started = match peer {
            Peer::Certward => return certward::start(stage),
            Peer::Nginx => nginx::start(stage, false),
            Peer::NginxTuned => nginx::start(stage, true),
            Peer::Haproxy => haproxy::start(stage, false),
            Peer::HaproxyTuned => haproxy::start(stage, true),
            Peer::Stunnel => stunnel::start(stage),
            Peer::Hitch => hitch::start(stage),
            Peer::Mosquitto => mosquitto::start(stage),
            Peer::Rustls => forwarder::start(stage, true),
            Peer::Plain => forwarder::start(stage, false),
        };
        let (mut program, endpoints) = started.with_context(|| format!("{} does not start", peer.title()))?;
        for address in [endpoints.one_way, endpoints.two_way, endpoints.rsa] {
            program.wait_listening(address)?;
        }
        let meter = Meter::of(program.id());
        Ok(Self { peer, endpoints, meter, running: Running::Program(program) })
    }

    pub(crate) fn endpoint(&self, workload: Workload, credentials: &Credentials) -> Endpoint {
        let (address, sni, shown) = match workload.listener() {
            Listener::OneWay => (self.endpoints.one_way, ONE_WAY, &credentials.p256),
            Listener::TwoWay => (self.endpoints.two_way, TWO_WAY, &credentials.p256),
            Listener::Rsa => (self.endpoints.rsa, RSA, &credentials.rsa),
        };
        Endpoint {
            address,
            sni: sni.to_owned(),
            leaf: Some(shown.leaf.der.clone()),
            tls: self.peer != Peer::Plain,
        }
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    pub(crate) fn log(&self) -> String {
        match &self.running {
            Running::Program(program) => program.output(),
            Running::Certward(certward) => certward.log(),
        }
    }
}

impl Endpoints {
    fn free() -> Self {
        let free = || SocketAddr::from(([127, 0, 0, 1], free_port()));
        Self { one_way: free(), two_way: free(), rsa: free() }
    }

    /// With its certificate, and whether it requests the client's.
    fn each<'a>(
        &self,
        credentials: &'a Credentials,
    ) -> [(&'static str, SocketAddr, &'a Credential, bool); 3] {
        [
            ("one-way", self.one_way, &credentials.p256, false),
            ("two-way", self.two_way, &credentials.p256, true),
            ("rsa", self.rsa, &credentials.rsa, false),
        ]
    }
}

pub(crate) const ON_SERVER_CORE: &[&str] = &["taskset", "-c", "0"];

pub(crate) fn on_server_core(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(ON_SERVER_CORE[0]);
    command.args(&ON_SERVER_CORE[1..]).arg(program);
    command
}

pub(crate) fn own_folder(stage: &Stage<'_>, name: &str) -> Result<PathBuf> {
    let folder = stage.folder.join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn first_line(command: &mut Command) -> String {
    line_with(command, "")
}

fn line_with(command: &mut Command, text: &str) -> String {
    let output = run(command);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    said.lines().find(|line| line.contains(text)).unwrap_or("not known").trim().to_owned()
}
