use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::Result;
use certward_tests::free_port;
use rustix::process::Signal;

use super::{FleetServer, Member};
use crate::{
    peers::{Stage, hitch, own_folder},
    process::program::Program,
};

/// A folder of certificates, read again on SIGHUP; the signal counts as the answer.
pub(crate) struct HitchFleet {
    folder: PathBuf,
    address: SocketAddr,
}

impl HitchFleet {
    pub(crate) fn new(stage: &Stage<'_>) -> Result<Self> {
        let folder = own_folder(stage, "hitch-fleet")?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        fs::create_dir_all(folder.join("certificates"))?;
        let text = format!(
            "{}pem-dir = \"{}\"\nfrontend = {{\n host = \"{}\"\n port = \"{}\"\n}}\n",
            hitch::preamble(stage),
            folder.join("certificates").display(),
            address.ip(),
            address.port(),
        );
        fs::write(folder.join("hitch.conf"), text)?;
        Ok(Self { folder, address })
    }

    fn file(&self, host: &str) -> PathBuf {
        self.folder.join("certificates").join(format!("{host}.pem"))
    }
}

impl FleetServer for HitchFleet {
    fn add(&mut self, members: &[Member]) -> Result<()> {
        members.iter().try_for_each(|member| member.write(&self.file(&member.host)))
    }

    fn start(&self) -> Result<Program> {
        hitch::launch(&self.folder)
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn replace(&self, program: &Program, member: &Member) -> Result<()> {
        member.write(&self.file(&member.host))?;
        program.signal(Signal::HUP);
        Ok(())
    }
}
