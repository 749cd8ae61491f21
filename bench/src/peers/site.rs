use std::{
    ffi::OsStr,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use certward_tests::{free_port, run};

use super::Testbed;
use crate::{
    load::{Credential, Listener},
    process::Program,
};

/// Where one server runs: its folder and its listeners.
pub(crate) struct Site<'a> {
    testbed: &'a Testbed,
    pub(crate) folder: PathBuf,
    pub(crate) ports: Ports,
}

/// The address of each listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports(pub(crate) [SocketAddr; Listener::ALL.len()]);

/// A listener as a configuration file needs it.
pub(crate) struct Bind<'a> {
    pub(crate) listener: Listener,
    pub(crate) address: SocketAddr,
    pub(crate) credential: &'a Credential,
    /// Two-way only.
    pub(crate) client_ca: Option<&'a Path>,
}

impl<'a> Site<'a> {
    pub(crate) fn new(testbed: &'a Testbed, name: &str) -> Result<Self> {
        let folder = subfolder(testbed, name)?;
        Ok(Self { testbed, folder, ports: Ports(Listener::ALL.map(|_| free_address())) })
    }

    pub(crate) fn broker(&self) -> SocketAddr {
        self.testbed.broker()
    }

    pub(crate) fn binds(&self) -> impl Iterator<Item = Bind<'a>> + use<'a> {
        let (credentials, ports) = (&self.testbed.credentials, self.ports);
        Listener::ALL.into_iter().map(move |listener| Bind {
            listener,
            address: ports.of(listener),
            credential: credentials.of(listener),
            client_ca: (listener == Listener::TwoWay).then_some(credentials.client_ca_file.as_path()),
        })
    }

    /// Writes the configuration and starts the program.
    pub(crate) fn launch(&self, file: &str, text: &str, launch: Launch) -> Result<Program> {
        fs::write(self.folder.join(file), text)?;
        launch(&self.folder)
    }
}

/// Starts a peer whose configuration is in the folder.
pub(crate) type Launch = fn(&Path) -> Result<Program>;

impl Ports {
    pub(crate) fn of(self, listener: Listener) -> SocketAddr {
        self.0[listener as usize]
    }
}

pub(crate) fn subfolder(testbed: &Testbed, name: &str) -> Result<PathBuf> {
    let folder = testbed.folder().join(name);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

pub(crate) fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

pub(crate) const ON_SERVER_CORE: &[&str] = &["taskset", "-c", "0"];

pub(crate) fn on_server_core(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(ON_SERVER_CORE[0]);
    command.args(&ON_SERVER_CORE[1..]).arg(program);
    command
}

/// The first line of a program's output that contains `text`.
pub(crate) fn output_line(program: impl AsRef<OsStr>, argument: &str, text: &str) -> String {
    let output = run(Command::new(program).arg(argument));
    let output = [output.stdout, output.stderr].concat();
    let output = String::from_utf8_lossy(&output);
    output.lines().find(|line| line.contains(text)).unwrap_or("not known").trim().to_owned()
}
