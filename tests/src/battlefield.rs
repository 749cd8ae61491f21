use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use serde_json::json;

use crate::{Attack, Attacker, Authority, Device, RoughBroker, Scene, Setup, Target, Victim};

/// A scene with a victim and an attacker. The victim uses the seed's deployment or one of two with
/// a limit; two more, with their own brokers, are targets.
#[derive(Debug)]
pub struct Battlefield {
    /// The scene.
    pub scene: Scene,
    clients: Authority,
    _brokers: [RoughBroker; 2],
}

const PATIENT: &str = "patient.example";
const TALKATIVE: &str = "talkative.example";
const FEW_AT_ONCE: &str = "few-at-once.example";
const FEW_A_SECOND: &str = "few-a-second.example";

impl Battlefield {
    /// The victim's address.
    pub const VICTIM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
    /// The address of a single attacker.
    pub const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
    /// The load balancer's network, and an address in it.
    const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 4, 1);
    const BALANCERS: &str = "127.0.4.0/24";

    /// Below an attack's connections, and connections per second.
    const CONNECTIONS: u32 = 20;
    const CONNECTION_RATE: u32 = 15;
    /// Ten connections a second are within the rate.
    const LIMITED_PAUSE: Duration = Duration::from_millis(100);

    /// All five certificates are `running` and the victim has connected once.
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
        let clients = Authority::new("Test Client CA");
        for (host, limit, value) in [
            (FEW_AT_ONCE, "connections", Self::CONNECTIONS),
            (FEW_A_SECOND, "connectionRate", Self::CONNECTION_RATE),
        ] {
            let id = host.trim_end_matches(".example");
            scene.api().create_deployment_with(json!({
                "deploymentID": id, "upstream": scene.broker.upstream(), "hosts": [host], limit: value,
            }));
            scene.api().post_tls(id, &scene.authority.server(&[host]).two_way(clients.pem())).expect(200);
            scene.api().wait_running(id);
        }
        scene.connect(&scene.device(), "first").expect("all is quiet");
        Self { scene, clients, _brokers: brokers }
    }

    /// Starts a victim of the seed's deployment.
    pub fn victim(&self) -> Victim {
        let device = self.scene.device().at(Self::VICTIM);
        Victim::start(device, self.scene.certward.mqtts(), Scene::HOST)
    }

    /// Starts the victim of this attack.
    pub fn victim_of(&self, attack: &Attack) -> Victim {
        let host = match attack.victim {
            Target::Open => return self.victim(),
            Target::FewAtOnce => FEW_AT_ONCE,
            Target::FewASecond => FEW_A_SECOND,
        };
        let device = self.scene.device().with_identity(&self.clients.client("victim")).at(Self::VICTIM);
        Victim::start_pausing(device, self.scene.certward.mqtts(), host, Self::LIMITED_PAUSE)
    }

    /// An attacker.
    pub fn attacker(&self, address: impl Into<IpAddr>, connections: usize, span: Duration) -> Attacker {
        Attacker {
            target: self.scene.certward.mqtts(),
            wss: self.scene.certward.wss(),
            host: Scene::HOST.to_owned(),
            few_at_once_host: FEW_AT_ONCE.to_owned(),
            few_a_second_host: FEW_A_SECOND.to_owned(),
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
