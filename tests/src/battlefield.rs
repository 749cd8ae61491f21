use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use serde_json::json;

use crate::{Attacker, Device, RoughBroker, Scene, Setup, Victim};

/// A scene on which a victim and an attacker meet: the deployment of the seed is the victim's; two more, with brokers of their own,
/// are there to be attacked through.
#[derive(Debug)]
pub struct Battlefield {
    /// The scene.
    pub scene: Scene,
    _brokers: [RoughBroker; 2],
}

const PATIENT: &str = "patient.example";
const TALKATIVE: &str = "talkative.example";

impl Battlefield {
    /// Where the victim is.
    pub const VICTIM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
    /// Where the attacker is, if it is at one place only.
    pub const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
    /// Where somebody is who attacks from the load balancer's network, and what that network is.
    const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 4, 1);
    const BALANCERS: &str = "127.0.4.0/24";

    /// Everything set up, all three certificates `running`, and the victim's way walked once.
    ///
    /// # Panics
    /// When something does not start.
    pub fn new(setup: Setup) -> Self {
        let scene = Scene::with(Setup { proxy_protocol_from: Some(Self::BALANCERS), ..setup });
        scene.run_one_way();
        let brokers = [RoughBroker::patient(), RoughBroker::talkative()];
        for (host, broker) in [PATIENT, TALKATIVE].into_iter().zip(&brokers) {
            let id = host.trim_end_matches(".example");
            let upstream = broker.upstream();
            scene.api().create_deployment_with(json!({
                "deploymentID": id, "upstream": upstream, "wsUpstream": upstream, "hosts": [host],
            }));
            scene.api().post_tls(id, &scene.authority.server(&[host]).one_way()).expect(200);
            scene.api().wait_running(id);
        }
        scene.connect(&scene.device(), "first").expect("all is quiet");
        Self { scene, _brokers: brokers }
    }

    /// A victim that begins now.
    pub fn victim(&self) -> Victim {
        let device = self.scene.device().at(Self::VICTIM);
        Victim::start(device, self.scene.certward.mqtts(), Scene::HOST)
    }

    /// An attacker.
    pub fn attacker(&self, address: impl Into<IpAddr>, connections: usize, span: Duration) -> Attacker {
        Attacker {
            target: self.scene.certward.mqtts(),
            wss: self.scene.certward.wss(),
            host: Scene::HOST.to_owned(),
            patient_host: PATIENT.to_owned(),
            talkative_host: TALKATIVE.to_owned(),
            address: address.into(),
            balancer: Self::BALANCER.into(),
            device: Device::trusting_anyone(),
            connections,
            span,
        }
    }
}
