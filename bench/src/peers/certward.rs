use std::net::SocketAddr;

use anyhow::{Result, ensure};
use certward_tests::{Certward, Setup, certward_binary};

use super::{
    FleetServer, Member, Testbed,
    seed::seed,
    site::{ON_SERVER_CORE, Ports, on_server_core},
};
use crate::{load::Listener, process::Program};

/// With limits above the load.
fn new_certward(devices: Option<&'static str>) -> Certward {
    Certward::start_with(Setup {
        log_level: "info",
        prove_within: "1h",
        devices,
        through: ON_SERVER_CORE,
        ..Setup::default()
    })
}

/// A deployment for each listener of the others; one port for all.
pub(crate) fn start(testbed: &Testbed, devices: Option<&'static str>) -> (Certward, Ports) {
    let (certward, credentials) = (new_certward(devices), &testbed.credentials);
    let api = certward.api();
    for listener in Listener::ALL {
        let leaf = &credentials.of(listener).leaf;
        let upload = match listener {
            Listener::TwoWay => leaf.two_way(credentials.client_ca.pem()),
            _ => leaf.one_way(),
        };
        api.create_deployment(listener.name(), &testbed.broker().to_string(), &[listener.host()]);
        api.post_tls(listener.name(), &upload).expect(200);
        api.wait_running(listener.name());
    }
    let ports = Ports([certward.mqtts(); Listener::ALL.len()]);
    (certward, ports)
}

/// The API makes the first deployment, the others copy it in the store.
pub(crate) struct CertwardFleet {
    certward: Certward,
    broker: SocketAddr,
    template: Option<String>,
}

impl CertwardFleet {
    pub(crate) fn new(broker: SocketAddr) -> Self {
        Self { certward: new_certward(None), broker, template: None }
    }

    pub(crate) fn certward(&self) -> &Certward {
        &self.certward
    }

    pub(crate) fn use_store(&mut self, url: String) {
        self.certward.use_store(url);
    }

    fn make_template(&mut self, first: &Member) -> String {
        let (api, id) = (self.certward.api(), first.id());
        api.create_deployment(id, &self.broker.to_string(), &[&first.host]);
        api.post_tls(id, &first.leaf.one_way()).expect(200);
        api.wait_running(id);
        self.certward.stop();
        id.to_owned()
    }
}

impl FleetServer for CertwardFleet {
    fn add(&mut self, members: &mut dyn Iterator<Item = Member>) -> Result<()> {
        let template = match self.template.take() {
            Some(template) => template,
            None => match members.next() {
                Some(first) => self.make_template(&first),
                None => return Ok(()),
            },
        };
        seed(&self.certward, &template, members)?;
        self.template = Some(template);
        Ok(())
    }

    fn start(&self) -> Result<Program> {
        let mut command = on_server_core(certward_binary());
        command.arg("serve").arg("--config").arg(self.certward.config()).env_remove("CERTWARD_BIN");
        Program::start(self.certward.folder(), &mut command)
    }

    fn address(&self) -> SocketAddr {
        self.certward.mqtts()
    }

    fn replace(&self, _: &Program, member: &Member) -> Result<()> {
        let answer = self.certward.api().put_tls(member.id(), &member.leaf.one_way());
        ensure!(answer.status == 200, "PUT is answered by {}: {}", answer.status, answer.body);
        Ok(())
    }
}
