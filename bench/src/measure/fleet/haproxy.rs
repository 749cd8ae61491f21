use std::{
    fmt::Write as _,
    fs,
    io::{Read, Write as _},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use certward_tests::free_port;

use super::{FleetServer, Member};
use crate::{
    peers::{Stage, haproxy, own_folder},
    process::program::Program,
};

/// A certificate list, replaced by commands on the socket.
pub(crate) struct HaproxyFleet {
    folder: PathBuf,
    address: SocketAddr,
}

impl HaproxyFleet {
    pub(crate) fn new(stage: &Stage<'_>) -> Result<Self> {
        let folder = own_folder(stage, "haproxy-fleet")?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let text = format!(
            "{}frontend fleet\n bind {address} ssl crt-list {} curves X25519\n default_backend broker\n\
             backend broker\n server broker {}\n",
            haproxy::preamble().replacen(
                "global\n",
                &format!("global\n stats socket {} mode 600 level admin\n", folder.join("socket").display()),
                1
            ),
            folder.join("list").display(),
            stage.broker,
        );
        fs::write(folder.join("haproxy.cfg"), text)?;
        Ok(Self { folder, address })
    }

    fn file(&self, host: &str) -> PathBuf {
        self.folder.join(format!("{host}.pem"))
    }

    fn command(&self, command: &str) -> Result<String> {
        let mut socket = UnixStream::connect(self.folder.join("socket")).context("HAProxy's socket")?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        socket.write_all(command.as_bytes())?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl FleetServer for HaproxyFleet {
    fn add(&mut self, members: &[Member]) -> Result<()> {
        let list = self.folder.join("list");
        let mut lines = fs::read_to_string(&list).unwrap_or_default();
        for member in members {
            let file = self.file(&member.host);
            member.write(&file)?;
            writeln!(lines, "{}", file.display())?;
        }
        Ok(fs::write(list, lines)?)
    }

    fn start(&self) -> Result<Program> {
        haproxy::launch(&self.folder)
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn replace(&self, _: &Program, member: &Member) -> Result<()> {
        let file = self.file(&member.host);
        let file = file.display();
        let pem = format!("{}{}", member.leaf.chain_pem, member.leaf.key_pem);
        self.command(&format!("set ssl cert {file} <<\n{pem}\n\n"))?;
        let answer = self.command(&format!("commit ssl cert {file}\n"))?;
        ensure!(answer.contains("Success"), "commit ssl cert: {answer}");
        Ok(())
    }
}
