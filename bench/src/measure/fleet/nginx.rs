use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::Result;
use certward_tests::free_port;

use super::{FleetServer, Member};
use crate::{
    peers::{Stage, nginx, own_folder},
    process::program::Program,
};

/// This version's stream module chooses by SNI only by reading the file at every handshake: no
/// cache.
pub(crate) struct NginxFleet {
    folder: PathBuf,
    address: SocketAddr,
}

impl NginxFleet {
    pub(crate) fn new(stage: &Stage<'_>) -> Result<Self> {
        let folder = own_folder(stage, "nginx-fleet")?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let file = format!("{}/$ssl_server_name.pem", folder.display());
        let text = format!(
            "{}server {{ listen {address} ssl; ssl_certificate {file}; ssl_certificate_key {file}; \
             proxy_pass {}; }}\n}}\n",
            nginx::preamble(&folder),
            stage.broker,
        );
        fs::write(folder.join("nginx.conf"), text)?;
        Ok(Self { folder, address })
    }

    fn file(&self, host: &str) -> PathBuf {
        self.folder.join(format!("{host}.pem"))
    }
}

impl FleetServer for NginxFleet {
    fn add(&mut self, members: &[Member]) -> Result<()> {
        members.iter().try_for_each(|member| member.write(&self.file(&member.host)))
    }

    fn start(&self) -> Result<Program> {
        nginx::launch(&self.folder)
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn replace(&self, _: &Program, member: &Member) -> Result<()> {
        member.write(&self.file(&member.host))
    }
}
