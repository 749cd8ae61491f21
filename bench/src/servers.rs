//! Each server in its own process with one worker on its own core.

mod certward;
mod forwarder;
pub(crate) mod haproxy;
pub(crate) mod hitch;
mod mosquitto;
pub(crate) mod nginx;
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
    client::Door,
    credentials::{Credential, Credentials, ONE_WAY, RSA, TWO_WAY},
    meter::Meter,
    program::Program,
    test::{Entrance, Test},
};

/// A server, and how it is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
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
    pub(crate) kind: Kind,
    doors: Doors,
    meter: Meter,
    running: Running,
}

enum Running {
    Program(Program),
    Certward(Box<certward_tests::Certward>),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Doors {
    pub(crate) one_way: SocketAddr,
    pub(crate) two_way: SocketAddr,
    pub(crate) rsa: SocketAddr,
}

pub(crate) struct Stage<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) credentials: &'a Credentials,
    pub(crate) broker: SocketAddr,
}

impl Kind {
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

    pub(crate) fn takes(self, test: Test) -> bool {
        match test {
            _ if self == Self::Plain => matches!(test, Test::Throughput | Test::Small | Test::Idle),
            // OpenSSL 3.0 has no X25519MLKEM768.
            Test::Hybrid => matches!(self, Self::Certward | Self::Rustls),
            // Others do not cache verified certificates.
            Test::TwoWayFirst => matches!(self, Self::Certward | Self::Rustls | Self::NginxTuned),
            // Relays nothing.
            Test::Throughput | Test::Small => self != Self::Mosquitto,
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
    pub(crate) fn start(kind: Kind, stage: &Stage<'_>) -> Result<Self> {
        const TRIES: usize = 3;
        for _ in 1..TRIES {
            match Self::try_start(kind, stage) {
                Ok(server) => return Ok(server),
                Err(error) => eprintln!("{error:#}"),
            }
        }
        Self::try_start(kind, stage)
    }

    fn try_start(kind: Kind, stage: &Stage<'_>) -> Result<Self> {
        let started = match kind {
            Kind::Certward => return certward::start(stage),
            Kind::Nginx => nginx::start(stage, false),
            Kind::NginxTuned => nginx::start(stage, true),
            Kind::Haproxy => haproxy::start(stage, false),
            Kind::HaproxyTuned => haproxy::start(stage, true),
            Kind::Stunnel => stunnel::start(stage),
            Kind::Hitch => hitch::start(stage),
            Kind::Mosquitto => mosquitto::start(stage),
            Kind::Rustls => forwarder::start(stage, true),
            Kind::Plain => forwarder::start(stage, false),
        };
        let (mut program, doors) = started.with_context(|| format!("{} does not start", kind.title()))?;
        for address in [doors.one_way, doors.two_way, doors.rsa] {
            program.wait_listening(address)?;
        }
        let meter = Meter::of(program.id());
        Ok(Self { kind, doors, meter, running: Running::Program(program) })
    }

    pub(crate) fn door(&self, test: Test, credentials: &Credentials) -> Door {
        let (address, sni, shown) = match test.entrance() {
            Entrance::OneWay => (self.doors.one_way, ONE_WAY, &credentials.p256),
            Entrance::TwoWay => (self.doors.two_way, TWO_WAY, &credentials.p256),
            Entrance::Rsa => (self.doors.rsa, RSA, &credentials.rsa),
        };
        Door {
            address,
            sni: sni.to_owned(),
            leaf: Some(shown.leaf.der.clone()),
            tls: self.kind != Kind::Plain,
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

impl Doors {
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
