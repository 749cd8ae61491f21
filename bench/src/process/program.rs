use std::{
    fs::{self, File},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use certward_tests::came_within;
use rustix::process::{Pid, Signal, kill_process};

use super::Meter;

/// A peer; killed on drop with all its descendants.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    output: PathBuf,
}

const ENDS_WITHIN: Duration = Duration::from_secs(3);
const STARTS_WITHIN: Duration = Duration::from_secs(60);

impl Program {
    pub(crate) fn start(folder: &Path, command: &mut Command) -> Result<Self> {
        let output = folder.join("output.log");
        let file = File::options().create(true).append(true).open(&output)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        Ok(Self { child, output })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    pub(crate) fn wait_listening(&mut self, address: SocketAddr) -> Result<()> {
        let listens = came_within(STARTS_WITHIN, || match self.child.try_wait() {
            Ok(None) => TcpStream::connect(address).is_ok().then_some(true),
            _ => Some(false),
        });
        match listens {
            Some(true) => Ok(()),
            _ => bail!("it does not listen on {address}:\n{}", self.output()),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(self.id(), signal);
    }
}

fn send(process: u32, signal: Signal) {
    if let Some(id) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        // Ignored: it may have exited.
        let _ = kill_process(id, signal);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let workers = Meter::of(self.id());
        self.signal(Signal::TERM);
        if came_within(ENDS_WITHIN, || self.child.try_wait().ok().flatten()).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        // Workers outlive a killed parent.
        for &worker in &workers.processes()[1..] {
            send(worker, Signal::KILL);
        }
    }
}
