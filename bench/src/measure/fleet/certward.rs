use std::{net::SocketAddr, path::Path};

use anyhow::{Result, ensure};
use certward_tests::{Certward, certward_binary};

use super::{FleetServer, Member};
use crate::{
    peers::seed::{Seedling, seed},
    peers::{new_certward, on_server_core},
    process::program::Program,
};

/// The first deployment is made by the API, the others copy it in the store.
pub(crate) struct CertwardFleet {
    certward: Certward,
    broker: SocketAddr,
    template: Option<String>,
}

impl CertwardFleet {
    pub(crate) fn new(broker: SocketAddr) -> Result<Self> {
        Ok(Self { certward: new_certward(), broker, template: None })
    }

    /// The first label.
    fn id(host: &str) -> &str {
        host.split('.').next().unwrap_or_default()
    }

    pub(crate) fn add(&mut self, members: impl Iterator<Item = Member>) -> Result<()> {
        let mut members = members.peekable();
        if self.template.is_none()
            && let Some(first) = members.next()
        {
            let (api, id) = (self.certward.api(), Self::id(&first.host).to_owned());
            api.create_deployment(&id, &self.broker.to_string(), &[&first.host]);
            api.post_tls(&id, &first.leaf.one_way()).expect(200);
            api.wait_running(&id);
            self.certward.stop();
            self.template = Some(id);
        }
        match &self.template {
            Some(template) if members.peek().is_some() => seed(
                &self.certward,
                template,
                members.map(|Member { host, leaf }| Seedling { id: Self::id(&host).to_owned(), host, leaf }),
            ),
            _ => Ok(()),
        }
    }

    pub(crate) fn start(&self) -> Result<Program> {
        let mut command = on_server_core(certward_binary());
        command.arg("serve").arg("--config").arg(self.certward.config()).env_remove("CERTWARD_BIN");
        Program::start(self.folder(), &mut command)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.certward.mqtts()
    }

    pub(crate) fn certward(&self) -> &Certward {
        &self.certward
    }

    pub(crate) fn use_store(&mut self, url: String) {
        self.certward.use_store(url);
    }

    pub(crate) fn replace(&self, member: &Member) -> Result<()> {
        let answer = self.certward.api().put_tls(Self::id(&member.host), &member.leaf.one_way());
        ensure!(answer.status == 200, "PUT is answered by {}: {}", answer.status, answer.body);
        Ok(())
    }

    fn folder(&self) -> &Path {
        self.certward.folder()
    }
}

impl FleetServer for CertwardFleet {
    fn add(&mut self, members: &[Member]) -> Result<()> {
        let copies =
            members.iter().map(|Member { host, leaf }| Member { host: host.clone(), leaf: leaf.clone() });
        Self::add(self, copies)
    }

    fn start(&self) -> Result<Program> {
        Self::start(self)
    }

    fn address(&self) -> SocketAddr {
        Self::address(self)
    }

    fn replace(&self, _: &Program, member: &Member) -> Result<()> {
        Self::replace(self, member)
    }
}
