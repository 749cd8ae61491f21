use std::{fs, io::Write, net::SocketAddr, path::PathBuf};

use anyhow::Result;
use certward_tests::{Authority, Leaf};

use super::{
    Testbed,
    site::{Launch, free_address, subfolder},
};
use crate::{load::Endpoint, process::Program};

/// A server of many certificates, which it chooses by SNI.
pub(crate) trait FleetServer: Sync {
    /// While it is stopped; the first call adds at least one.
    fn add(&mut self, members: &mut dyn Iterator<Item = Member>) -> Result<()>;
    fn start(&self) -> Result<Program>;
    fn address(&self) -> SocketAddr;
    /// As the manual says; returns with the server's answer.
    fn replace(&self, program: &Program, member: &Member) -> Result<()>;

    fn endpoint(&self, number: usize) -> Endpoint {
        Endpoint { address: self.address(), sni: Member::host(number), leaf: None, tls: true }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) host: String,
    pub(crate) leaf: Leaf,
}

impl Member {
    pub(crate) fn new(authority: &Authority, number: usize) -> Self {
        let host = Self::host(number);
        let leaf = authority.server(&[&host]);
        Self { host, leaf }
    }

    pub(crate) fn host(number: usize) -> String {
        format!("d{number}.example.com")
    }

    /// The deployment's id.
    pub(crate) fn id(&self) -> &str {
        self.host.split('.').next().unwrap_or_default()
    }

    /// Certificate and key in one text.
    pub(crate) fn pem(&self) -> String {
        format!("{}{}", self.leaf.chain_pem, self.leaf.key_pem)
    }
}

/// The fleet of a peer that reads a file for each certificate.
pub(crate) struct FileFleet {
    pub(crate) folder: PathBuf,
    pub(crate) address: SocketAddr,
    launch: Launch,
    replace: Replace,
}

type Replace = fn(&FileFleet, &Program, &Member) -> Result<()>;

impl FileFleet {
    pub(crate) fn new(testbed: &Testbed, name: &str, launch: Launch, replace: Replace) -> Result<Self> {
        let fleet = Self { folder: subfolder(testbed, name)?, address: free_address(), launch, replace };
        fs::create_dir_all(fleet.certificates())?;
        Ok(fleet)
    }

    pub(crate) fn certificates(&self) -> PathBuf {
        self.folder.join("certificates")
    }

    /// The paths of all certificates, which HAProxy reads.
    pub(crate) fn list(&self) -> PathBuf {
        self.folder.join("list")
    }

    pub(crate) fn file(&self, host: &str) -> PathBuf {
        self.certificates().join(format!("{host}.pem"))
    }

    /// Atomically.
    pub(crate) fn write(&self, member: &Member) -> Result<()> {
        let new = self.folder.join("new.pem");
        fs::write(&new, member.pem())?;
        Ok(fs::rename(new, self.file(&member.host))?)
    }

    pub(crate) fn configure(self, file: &str, text: &str) -> Result<Self> {
        fs::write(self.folder.join(file), text)?;
        Ok(self)
    }
}

impl FleetServer for FileFleet {
    fn add(&mut self, members: &mut dyn Iterator<Item = Member>) -> Result<()> {
        let mut list = fs::File::options().create(true).append(true).open(self.list())?;
        for member in members {
            self.write(&member)?;
            writeln!(list, "{}", self.file(&member.host).display())?;
        }
        Ok(())
    }

    fn start(&self) -> Result<Program> {
        (self.launch)(&self.folder)
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn replace(&self, program: &Program, member: &Member) -> Result<()> {
        (self.replace)(self, program, member)
    }
}
