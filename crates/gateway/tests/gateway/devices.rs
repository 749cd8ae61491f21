//! Devices become known once their broker accepts them: listed, ended, recorded, and asked about a
//! change of client CAs.

use std::{collections::BTreeSet, time::Duration};

use certward_gateway::{DevicesKept, Settings};
use certward_lifecycle::{
    LiveEvidence, LiveOffer, LiveSession, NodeView, ProposedTrust, SessionFilter, TrustChange,
};
use certward_pki::TlsType;
use certward_store::{Clock as _, DeploymentId, HostInUse, SeenDevice};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::stage::{
    Authority, Broker, CONNECT, Connection, Device, Leaf, TLS12, TLS13, World, eventually, from_now, id,
    settings,
};

const HOST: &str = "d.test";
const ACCEPTED: &[u8] = b"\x20\x02\0\0";

/// Answers each first packet with `answer`, then waits for the device to end.
async fn broker(answer: &'static [u8]) -> Broker {
    Broker::new(move |mut stream| async move {
        let mut bytes = [0; 1024];
        let _ = stream.read(&mut bytes).await;
        for part in answer.chunks(3) {
            let _ = stream.write_all(part).await;
        }
        while matches!(stream.read(&mut bytes).await, Ok(1..)) {}
    })
    .await
}

/// With the broker's answer read.
async fn accepted(world: &World, device: &Device, name: &str) -> Connection {
    let mut connection = device.connect(world.mqtts(), name).await.unwrap();
    connection.0.write_all(CONNECT).await.unwrap();
    let mut answer = [0; 4];
    connection.0.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, ACCEPTED);
    connection
}

fn sessions(world: &World, deployment: &DeploymentId, filter: &SessionFilter) -> Vec<LiveSession> {
    let listed = world.gateway.sessions(deployment, filter, 100).unwrap();
    assert_eq!(listed.total, listed.sessions.len() as u64);
    listed.sessions
}

fn all(world: &World, deployment: &DeploymentId) -> Vec<LiveSession> {
    sessions(world, deployment, &SessionFilter::All)
}

fn two_way(client_cas: &[&Authority]) -> ProposedTrust {
    let client_cas = client_cas.iter().map(|ca| ca.der().to_vec()).collect();
    ProposedTrust { tls_type: TlsType::TwoWay, client_cas }
}

fn one_way() -> ProposedTrust {
    ProposedTrust { tls_type: TlsType::OneWay, client_cas: Vec::new() }
}

fn evidence_of(
    world: &World,
    deployment: &DeploymentId,
    today: &ProposedTrust,
    proposed: &ProposedTrust,
) -> LiveEvidence {
    let change = TrustChange { today: today.clone(), proposed: proposed.clone() };
    world.gateway.live_evidence(deployment, &change)
}

async fn recorded(world: &World, deployment: &DeploymentId) -> Vec<SeenDevice> {
    world.lifecycle.store().read().devices(deployment, None, 100).await.unwrap()
}

async fn hosts(world: &World, deployment: &DeploymentId) -> Vec<HostInUse> {
    world.lifecycle.store().read().hosts_in_use(deployment).await.unwrap()
}

fn keeping(devices: DevicesKept) -> Settings {
    Settings { devices, ..settings() }
}

struct Fleet {
    world: World,
    servers: Authority,
    clients: Authority,
    deployment: DeploymentId,
    _broker: Broker,
}

impl Fleet {
    /// Two-way.
    async fn new(devices: DevicesKept) -> Self {
        let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
        let broker = broker(ACCEPTED).await;
        let world = World::with(keeping(devices)).await;
        let deployment = world.deploy("d", broker.address, &[HOST, "*.w.test"]).await;
        world.run(&deployment, &servers.server(&[HOST, "*.w.test"]), &[&clients]).await;
        Self { world, servers, clients, deployment, _broker: broker }
    }

    fn device(&self, leaf: &Leaf) -> Device {
        Device::new(&self.servers, Some(leaf), &[TLS13, TLS12])
    }

    async fn connect(&self, name: &str) -> Connection {
        accepted(&self.world, &self.device(&self.clients.client(name)), HOST).await
    }

    fn evidence(&self, today: &ProposedTrust, proposed: &ProposedTrust) -> LiveEvidence {
        evidence_of(&self.world, &self.deployment, today, proposed)
    }
}

#[tokio::test]
async fn a_device_is_known_with_its_certificate_host_address_and_version() {
    let fleet = Fleet::new(DevicesKept::Full).await;
    let (world, deployment) = (&fleet.world, &fleet.deployment);
    let (leaf, before) = (fleet.clients.client("thermometer"), world.clock.now());
    let device = Device::new(&fleet.servers, Some(&leaf), &[TLS12]);
    let connection = accepted(world, &device, HOST).await;
    let wildcard = accepted(world, &fleet.device(&fleet.clients.client("barometer")), "One.W.test").await;
    let listed = all(world, deployment);
    let [second, first] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!(first.name.as_deref(), Some("thermometer"));
    assert_eq!((first.host.as_deref(), second.host.as_deref()), (Some(HOST), Some("one.w.test")));
    assert_eq!((first.tls_version.as_str(), second.tls_version.as_str()), ("1.2", "1.3"));
    assert_eq!((first.listener.as_str(), first.address), ("mqtts", connection.local_address()));
    assert!(first.since >= before && second.since <= world.clock.now());
    let hosts: BTreeSet<_> = fleet.evidence(&one_way(), &one_way()).hosts.into_iter().collect();
    assert_eq!(hosts, BTreeSet::from([(HOST.into(), 1), ("*.w.test".into(), 1)]));
    // By device, and by address.
    let of = |filter| sessions(world, deployment, &filter);
    let devices = SessionFilter::Devices(vec![first.device.unwrap()]);
    assert_eq!(of(devices), std::slice::from_ref(first));
    assert_eq!(of(SessionFilter::Address([127, 0, 0, 1].into())).len(), 2);
    assert_eq!(of(SessionFilter::Address([127, 0, 0, 2].into())), []);
    assert_eq!(all(world, &id("other")), []);
    let of_one = world.gateway.sessions(deployment, &SessionFilter::All, 1);
    let of_one = of_one.unwrap();
    assert_eq!((of_one.total, of_one.sessions), (2, vec![second.clone()]));
    // The same certificate, resumed.
    drop(connection);
    eventually("it is gone", || async { all(world, deployment).len() == 1 }).await;
    let resumed = accepted(world, &device, HOST).await;
    assert!(resumed.resumed());
    assert_eq!(all(world, deployment)[0].device, first.device);
    drop((resumed, wildcard));
    fleet.world.shut_down().await;
}

#[tokio::test]
async fn who_is_not_accepted_by_its_broker_is_not_known() {
    let servers = Authority::new("servers");
    let world = World::new().await;
    let cases: [(&str, &'static [u8]); 3] =
        [("refused", b"\x20\x02\0\x05"), ("mqtt5", b"\x20\x03\0\x87\0"), ("other", b"HTTP/1.1 101 x")];
    let device = Device::trusting(&servers);
    for (name, answer) in cases {
        let (broker, host) = (broker(answer).await, format!("{name}.test"));
        let deployment = world.deploy(name, broker.address, &[&host]).await;
        world.run(&deployment, &servers.server(&[&host]), &[]).await;
        let mut connection = device.connect(world.mqtts(), &host).await.unwrap();
        connection.0.write_all(CONNECT).await.unwrap();
        let mut read = vec![0; answer.len()];
        connection.0.read_exact(&mut read).await.unwrap();
        assert_eq!((read, world.connections(&deployment)), (answer.to_vec(), 1));
        assert_eq!(all(&world, &deployment), [], "{name}");
        assert_eq!(evidence_of(&world, &deployment, &one_way(), &one_way()), LiveEvidence::default());
    }
    world.shut_down().await;
}

#[tokio::test]
async fn a_websocket_is_known_by_the_connack_in_it_and_not_by_its_upgrade() {
    let (world, servers) = (World::new().await, Authority::new("servers"));
    let answers: [(&str, &'static [u8], bool); 2] = [
        ("upgraded", b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x82\x04\x20\x02\0\x05", false),
        ("accepted", b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x82\x04\x20\x02\0\0", true),
    ];
    for (name, answer, is_known) in answers {
        let (broker, host) = (broker(answer).await, format!("{name}.test"));
        let deployment = world.deploy_with(name, broker.address, Some(broker.address), &[&host]).await;
        world.run(&deployment, &servers.server(&[&host]), &[]).await;
        let mut connection = Device::trusting(&servers).connect(world.wss(), &host).await.unwrap();
        connection
            .0
            .write_all(format!("GET /mqtt HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut read = vec![0; answer.len()];
        connection.0.read_exact(&mut read).await.unwrap();
        let listed = all(&world, &deployment);
        assert_eq!((read.as_slice(), listed.len()), (answer, usize::from(is_known)), "{name}");
        for session in listed {
            assert_eq!((session.listener.as_str(), session.device, session.name), ("wss", None, None));
        }
    }
    world.shut_down().await;
}

#[tokio::test]
async fn names_that_are_no_hosts_of_the_deployment_are_not_shown() {
    let (world, servers, broker) = (
        World::with(Settings { default_deployment: Some(id("d")), ..settings() }).await,
        Authority::new("servers"),
        broker(ACCEPTED).await,
    );
    let deployment = world.deploy("d", broker.address, &[HOST]).await;
    world.run(&deployment, &servers.server(&[HOST, "unknown.test"]), &[]).await;
    let device = Device::trusting(&servers);
    let _unknown = accepted(&world, &device, "unknown.test").await;
    let _without = accepted(&world, &device.without_sni(), HOST).await;
    let listed = all(&world, &deployment);
    assert!(listed.len() == 2 && listed.iter().all(|session| session.host.is_none()), "{listed:?}");
    let evidence = evidence_of(&world, &deployment, &one_way(), &one_way());
    assert_eq!((evidence.sessions, evidence.hosts), (2, vec![]));
    world.shut_down().await;
}

#[tokio::test]
async fn sessions_that_an_operator_ends_are_closed_orderly_and_no_others() {
    let fleet = Fleet::new(DevicesKept::Full).await;
    let (world, deployment) = (&fleet.world, &fleet.deployment);
    let mut closed = fleet.connect("closed").await;
    let mut other = fleet.connect("other").await;
    let listed = all(world, deployment);
    let wanted = listed.iter().find(|session| session.name.as_deref() == Some("closed")).unwrap();
    let filter = SessionFilter::Devices(vec![wanted.device.unwrap()]);
    assert_eq!(world.gateway.close_sessions(deployment, &filter), Some(1));
    closed.ends_cleanly().await;
    let nowhere = SessionFilter::Address([192, 0, 2, 7].into());
    assert_eq!(world.gateway.close_sessions(deployment, &nowhere), Some(0));
    eventually("one is left", || async { all(world, deployment).len() == 1 }).await;
    assert_eq!(world.metric("certward_gateway_closed_total{reason=\"requested\"}"), 1);
    assert_eq!(world.gateway.close_sessions(deployment, &SessionFilter::All), Some(1));
    other.ends_cleanly().await;
    // It may come again.
    let _again = [fleet.connect("closed").await, fleet.connect("closed").await];
    let device = all(world, deployment)[0].device.unwrap();
    let unknown = certward_pki::DeviceId([0; 16]);
    let connected = world.gateway.connected(deployment, &[unknown, device, device]);
    assert_eq!(connected, Some(vec![device]), "once, with two sessions");
    fleet.world.shut_down().await;
}

/// As after a deletion that the node reads together with the creation.
#[tokio::test]
async fn sessions_do_not_stay_with_a_later_deployment_of_the_same_id() {
    let fleet = Fleet::new(DevicesKept::Full).await;
    let mut before = fleet.connect("before").await;
    fleet.world.sql("UPDATE deployment SET born = born + 1").await;
    fleet.world.run(&fleet.deployment, &fleet.servers.server(&[HOST, "*.w.test"]), &[]).await;
    before.ends_cleanly().await;
    let after = fleet.connect("after").await;
    assert_eq!(all(&fleet.world, &fleet.deployment).len(), 1);
    drop(after);
    fleet.world.shut_down().await;
}

#[tokio::test]
async fn other_client_cas_would_refuse_exactly_the_devices_that_they_did_not_issue() {
    let fleet = Fleet::new(DevicesKept::Full).await;
    let second = Authority::new("second");
    let (leaf, deployment) = (fleet.servers.server(&[HOST]), &fleet.deployment);
    fleet.world.run(deployment, &leaf, &[&fleet.clients, &second]).await;
    let mut live = Vec::new();
    for number in 0..30 {
        let ca = if number < 25 { &fleet.clients } else { &second };
        let device = fleet.device(&ca.client(&format!("device {number}")));
        live.push(accepted(&fleet.world, &device, HOST).await);
    }
    let today = two_way(&[&fleet.clients, &second]);
    let refused = |proposed: &ProposedTrust| {
        let LiveEvidence { sessions, refused, named, .. } = fleet.evidence(&today, proposed);
        assert_eq!((sessions, named.len() as u64), (30, refused.min(20)));
        (refused, named)
    };
    let intermediate = fleet.clients.intermediate("intermediate");
    for (proposed, expected) in [
        (two_way(&[&fleet.clients, &second]), 0),
        (two_way(&[&fleet.clients]), 5),
        (two_way(&[&second]), 25),
        (two_way(&[&intermediate]), 30),
        // Another key of the same name.
        (two_way(&[&Authority::new("clients"), &second]), 25),
        (one_way(), 0),
    ] {
        assert_eq!(refused(&proposed).0, expected, "{proposed:?}");
    }
    let (_, named) = refused(&two_way(&[&fleet.clients]));
    let listed = all(&fleet.world, deployment);
    for rejected in named {
        let session = listed.iter().find(|session| session.device == rejected.id).unwrap();
        assert_eq!(session.name, Some(rejected.name));
        assert_eq!(&*rejected.reason, "No client CA issued the certificate.");
    }
    let LiveEvidence { hosts, offers, .. } = fleet.evidence(&today, &one_way());
    assert_eq!(hosts, [(HOST.into(), 30)]);
    let [LiveOffer { offer, sessions: 30, weight: 1_000_000, largest: 1_000_000 }] = &offers[..] else {
        panic!("{offers:?}")
    };
    assert_eq!(offer.versions, [0x0303, 0x0304]);
    assert!(offer.has_server_name && offer.signature_schemes.contains(&0x0403));
    drop(live);
    fleet.world.shut_down().await;
}

#[tokio::test]
async fn a_device_that_has_ended_is_not_refused_by_the_change() {
    let fleet = Fleet::new(DevicesKept::Full).await;
    let hour = Duration::from_secs(3600);
    let mut live = Vec::new();
    for (name, valid) in [("short", hour), ("long", hour * 24)] {
        let leaf = fleet.clients.client_with(name, |params| params.not_after = from_now(valid));
        live.push(accepted(&fleet.world, &fleet.device(&leaf), HOST).await);
    }
    let other = two_way(&[&Authority::new("other")]);
    let today = two_way(&[&fleet.clients]);
    let refused = || {
        let evidence = fleet.evidence(&today, &other);
        evidence.named.into_iter().map(|device| device.name.into_string()).collect::<Vec<_>>()
    };
    assert_eq!(refused(), ["long", "short"]);
    fleet.world.clock.advance(hour * 2);
    assert_eq!(refused(), ["long"]);
    // Whichever is the example of their path.
    assert_eq!(fleet.evidence(&today, &two_way(&[&Authority::new("new"), &fleet.clients])).refused, 0);
    drop(live);
    fleet.world.shut_down().await;
}

#[tokio::test]
async fn a_one_way_fleet_would_be_refused_by_two_way() {
    let (world, servers, broker) = (World::new().await, Authority::new("servers"), broker(ACCEPTED).await);
    let deployment = world.deploy("d", broker.address, &[HOST]).await;
    world.run(&deployment, &servers.server(&[HOST]), &[]).await;
    let connection = accepted(&world, &Device::trusting(&servers), HOST).await;
    let evidence = evidence_of(&world, &deployment, &one_way(), &two_way(&[&Authority::new("clients")]));
    assert_eq!((evidence.sessions, evidence.refused), (1, 1));
    let [rejected] = &evidence.named[..] else { panic!("{evidence:?}") };
    assert_eq!((rejected.id, &*rejected.reason), (None, "It sent no certificate."));
    assert_eq!(&*rejected.name, "127.0.0.1");
    drop(connection);
    assert_eq!(evidence_of(&world, &deployment, &one_way(), &one_way()).refused, 0);
    world.shut_down().await;
}

#[tokio::test]
async fn what_was_seen_is_recorded_within_seconds_and_at_the_end() {
    let fleet = Fleet::new(DevicesKept::Full).await;
    let (world, deployment) = (&fleet.world, &fleet.deployment);
    let _live = fleet.connect("thermometer").await;
    eventually("the device is recorded", || async { recorded(world, deployment).await.len() == 1 }).await;
    let seen = recorded(world, deployment).await.remove(0);
    assert_eq!(
        (seen.name.as_str(), seen.host.as_deref(), seen.tls_version.as_str()),
        ("thermometer", Some(HOST), "1.3")
    );
    assert_eq!(
        (seen.address, Some(seen.id)),
        (Some([127, 0, 0, 1].into()), all(world, deployment)[0].device)
    );
    assert_eq!(seen.client_ca, certward_pki::fingerprint(fleet.clients.der()));
    eventually("the host is recorded", || async { hosts(world, deployment).await.len() == 1 }).await;
    let _second = accepted(world, &fleet.device(&fleet.clients.client("barometer")), "one.w.test").await;
    let (lifecycle, deployment) = (world.lifecycle.clone(), deployment.clone());
    let folder = fleet.world.shut_down().await;
    let reader = lifecycle.store().read();
    assert_eq!(reader.devices(&deployment, None, 100).await.unwrap().len(), 2);
    let hosts: Vec<_> =
        reader.hosts_in_use(&deployment).await.unwrap().into_iter().map(|seen| seen.host).collect();
    assert_eq!(hosts, ["*.w.test".into(), Box::from(HOST)], "a wildcard, and not the name below it");
    let offers = reader.offer_days(&deployment, 0).await.unwrap();
    let [offer] = &offers[..] else { panic!("{offers:?}") };
    assert_eq!((offer.sessions, offer.networks, offer.weight, offer.hours), (2, 1, 1_000_000, 1));
    drop(folder);
}

#[tokio::test]
async fn what_the_setting_excludes_is_neither_recorded_nor_listed() {
    for (devices, has_hosts) in [(DevicesKept::Counts, true), (DevicesKept::Off, false)] {
        let fleet = Fleet::new(devices).await;
        let (world, deployment) = (&fleet.world, &fleet.deployment);
        let _live = fleet.connect("thermometer").await;
        let listed = all(world, deployment);
        let [session] = &listed[..] else { panic!("{listed:?}") };
        assert_eq!((session.device, &session.name, session.host.as_deref()), (None, &None, Some(HOST)));
        let device = certward_pki::DeviceId([0; 16]);
        let filter = SessionFilter::Devices(vec![device]);
        assert_eq!(world.gateway.sessions(deployment, &filter, 100), None);
        assert_eq!(world.gateway.connected(deployment, &[device]), None);
        assert_eq!(world.gateway.close_sessions(deployment, &filter), None);
        // Judged all the same.
        let today = two_way(&[&fleet.clients]);
        let evidence = fleet.evidence(&today, &two_way(&[&Authority::new("other")]));
        let [rejected] = &evidence.named[..] else { panic!("{evidence:?}") };
        assert_eq!((rejected.id, &*rejected.name), (None, "127.0.0.1"));
        assert_eq!(fleet.evidence(&today, &today).refused, 0);
        let (lifecycle, deployment) = (world.lifecycle.clone(), deployment.clone());
        let _folder = fleet.world.shut_down().await;
        let reader = lifecycle.store().read();
        assert_eq!(reader.devices(&deployment, None, 100).await.unwrap(), []);
        assert_eq!(
            reader.known_paths(&deployment, certward_store::SystemClock.now()).await.unwrap().len(),
            0
        );
        assert_eq!(!reader.hosts_in_use(&deployment).await.unwrap().is_empty(), has_hosts);
        assert_eq!(!reader.offer_days(&deployment, 0).await.unwrap().is_empty(), has_hosts);
    }
}

#[tokio::test]
async fn a_store_that_fails_delays_the_record_and_stops_no_device() {
    let fleet = Fleet::new(DevicesKept::Full).await;
    let (world, deployment) = (&fleet.world, &fleet.deployment);
    world.sql("ALTER TABLE device RENAME TO away").await;
    let _first = fleet.connect("thermometer").await;
    eventually("it waits", || async { world.metric("certward_gateway_entries{table=\"unrecorded\"}") > 0 })
        .await;
    let _second = fleet.connect("barometer").await;
    assert_eq!(all(world, deployment).len(), 2);
    world.sql("ALTER TABLE away RENAME TO device").await;
    eventually("both are recorded", || async { recorded(world, deployment).await.len() == 2 }).await;
    fleet.world.shut_down().await;
}
