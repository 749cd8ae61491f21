//! Clients that never finish, and connection limits, do not keep devices out.

use std::net::{Ipv4Addr, SocketAddr};

use certward_gateway::Settings;
use certward_store::{ConnectionLimit, DeploymentId, DeploymentPatch};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{
    hello::{Answer, Hello, answer, names},
    stage::{Authority, Broker, Connection, Device, TEST_TIMEOUT, TLS12, TLS13, World, eventually, settings},
};

/// Devices use 127.0.0.1.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const STRANGERS: usize = 24;

struct Stage {
    world: World,
    servers: Authority,
    clients: Authority,
    deployment: DeploymentId,
    broker: Broker,
}

impl Stage {
    /// 0: no limit.
    async fn new(settings: Settings, is_two_way: bool, at_once: i64, per_second: i64) -> Self {
        let (world, servers, clients) =
            (World::with(settings).await, Authority::new("servers"), Authority::new("clients"));
        let broker = Broker::echo().await;
        let deployment = world.deploy("d", broker.address, &["d.test"]).await;
        let change = DeploymentPatch {
            connections_at_once: Some(ConnectionLimit::parse(at_once).unwrap()),
            connections_per_second: Some(ConnectionLimit::parse(per_second).unwrap()),
            ..DeploymentPatch::default()
        };
        world.change(&deployment, change).await;
        let stage = Self { world, servers, clients, deployment, broker };
        let trusted: &[&Authority] = if is_two_way { &[&stage.clients] } else { &[] };
        stage.world.run(&stage.deployment, &stage.servers.server(&["d.test"]), trusted).await;
        stage
    }

    fn device(&self) -> Device {
        Device::new(&self.servers, Some(&self.clients.client("device")), &[TLS13, TLS12])
    }

    async fn talk(&self) -> std::io::Result<Connection> {
        self.device().talk(self.world.mqtts(), "d.test").await
    }

    /// Silent after the gateway's first flight.
    async fn hello(&self, from: Ipv4Addr) -> TcpStream {
        let mut stranger = connect(from, self.world.mqtts()).await;
        stranger.write_all(&Hello::tls13(&names(&[b"d.test"])).records()).await.unwrap();
        let answered = timeout(TEST_TIMEOUT, answer(&mut stranger)).await.expect("an answer comes");
        assert_eq!(answered, Answer::Hello13);
        stranger
    }

    fn closed(&self, reason: &str) -> u64 {
        self.world.metric(&format!(r#"certward_gateway_closed_total{{reason="{reason}"}}"#))
    }

    fn displaced_handshakes(&self) -> u64 {
        self.world.metric(r#"certward_gateway_handshake_failures_total{cause="displaced"}"#)
    }
}

async fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

fn denied(result: &std::io::Result<Connection>) -> bool {
    result.as_ref().err().is_some_and(|error| error.to_string().contains("AccessDenied"))
}

#[tokio::test]
async fn strangers_with_a_hello_each_use_up_no_limit_of_a_deployment() {
    for (at_once, per_second) in [(20, 0), (0, 20), (20, 20)] {
        for is_two_way in [true, false] {
            let stage = Stage::new(settings(), is_two_way, at_once, per_second).await;
            let mut strangers = Vec::new();
            for _ in 0..STRANGERS {
                strangers.push(stage.hello(ELSEWHERE).await);
            }
            for attempt in 0..15 {
                let got_in = stage.talk().await.map(drop);
                got_in.unwrap_or_else(|error| {
                    panic!("{at_once} {per_second} {is_two_way}, attempt {attempt}: {error}")
                });
            }
            assert!(stage.world.failures(&stage.deployment).is_empty());
            stage.world.shut_down().await;
        }
    }
}

#[tokio::test]
async fn in_a_one_way_deployment_clients_without_a_first_packet_count_for_nothing() {
    let stage = Stage::new(settings(), false, 2, 3).await;
    let device = Device::trusting(&stage.servers);
    let mut silent = Vec::new();
    for _ in 0..STRANGERS {
        silent.push(device.connect(stage.world.mqtts(), "d.test").await.unwrap());
    }
    let _devices = [stage.talk().await.unwrap(), stage.talk().await.unwrap()];
    assert!(denied(&stage.talk().await), "and those with one count");
    stage.world.shut_down().await;
}

#[tokio::test]
async fn in_a_two_way_deployment_a_verified_client_counts_before_it_says_anything() {
    let stage = Stage::new(settings(), true, 1, 0).await;
    let silent = stage.device().connect(stage.world.mqtts(), "d.test").await.unwrap();
    eventually("it is counted", || async { denied(&stage.talk().await) }).await;
    drop(silent);
    eventually("its place is free again", || async { stage.talk().await.is_ok() }).await;
    stage.world.shut_down().await;
}

#[tokio::test]
async fn of_forty_verified_devices_at_once_exactly_ten_get_in_and_the_others_are_told_by_an_alert() {
    for version in [TLS12, TLS13] {
        for (at_once, per_second, cause) in
            [(10, 0, "deployment_connections_max"), (0, 10, "deployment_connection_rate")]
        {
            let stage = Stage::new(settings(), true, at_once, per_second).await;
            let identity = stage.clients.client("device");
            let device = Device::new(&stage.servers, Some(&identity), &[version]);
            // Within a second, or more connect by the rate.
            let begin = std::time::Instant::now();
            let devices =
                futures_util::future::join_all((0..40).map(|_| device.talk(stage.world.mqtts(), "d.test")))
                    .await;
            let seconds = if per_second == 0 { 0 } else { begin.elapsed().as_millis() as usize / 100 };
            let got_in = devices.iter().filter(|device| device.is_ok()).count();
            assert!((10..=10 + seconds).contains(&got_in), "{version:?}: {got_in}");
            assert_eq!(devices.into_iter().filter(denied).count(), 40 - got_in, "{version:?}");
            let failures = stage.world.failures(&stage.deployment);
            assert_eq!(failures, vec![cause; 40 - got_in], "{version:?}");
            stage.world.shut_down().await;
        }
    }
}

fn narrow(connections_max: usize, per_address_max: Option<usize>) -> Settings {
    Settings {
        connections_max,
        unfinished_kept: 4,
        connections_per_address_max: per_address_max,
        ..settings()
    }
}

#[tokio::test]
async fn strangers_who_say_nothing_do_not_fill_the_node() {
    let stage = Stage::new(narrow(4, None), true, 0, 0).await;
    let mut strangers = Vec::new();
    for _ in 0..STRANGERS {
        strangers.push(connect(ELSEWHERE, stage.world.mqtts()).await);
    }
    // Eight unfinished connections have room.
    let displaced = (STRANGERS - 8) as u64;
    eventually("the oldest are displaced", || async { stage.displaced_handshakes() == displaced }).await;
    for stranger in &mut strangers[..STRANGERS - 8] {
        let read = timeout(TEST_TIMEOUT, stranger.read(&mut [0])).await.expect("the oldest are closed");
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
    let mut devices = Vec::new();
    for _ in 0..3 {
        devices.push(stage.talk().await.unwrap());
    }
    // Strangers do not get the fourth place.
    for _ in 0..STRANGERS {
        strangers.push(connect(ELSEWHERE, stage.world.mqtts()).await);
    }
    stage.world.run(&stage.deployment, &stage.servers.server(&["d.test"]), &[&stage.clients]).await;
    devices.push(stage.talk().await.unwrap());
    let refused = r#"certward_gateway_refused_total{reason="connections_max"}"#;
    assert_eq!(stage.world.metric(refused), 0);
    assert!(stage.talk().await.is_err());
    assert_eq!(stage.world.metric(refused), 1);
    for device in &mut devices {
        device.echo(b"a device that has a place is not displaced").await.unwrap();
    }
    stage.world.shut_down().await;
}

#[tokio::test]
async fn strangers_who_finish_a_one_way_handshake_and_say_nothing_do_not_fill_the_node_either() {
    let stage = Stage::new(narrow(4, None), false, 0, 0).await;
    let device = Device::trusting(&stage.servers);
    let mut silent = Vec::new();
    for _ in 0..STRANGERS {
        silent.push(device.connect(stage.world.mqtts(), "d.test").await.unwrap());
    }
    eventually("the oldest are displaced", || async { stage.closed("displaced") == STRANGERS as u64 - 8 })
        .await;
    silent[0].ends_cleanly().await;
    for _ in 0..3 {
        stage.talk().await.unwrap();
    }
    stage.world.shut_down().await;
}

#[tokio::test]
async fn strangers_of_a_devices_own_address_do_not_use_up_what_the_address_may_hold() {
    let stage = Stage::new(Settings { unfinished_kept: 100, ..narrow(100, Some(2)) }, true, 0, 0).await;
    let mut strangers = Vec::new();
    for _ in 0..STRANGERS {
        strangers.push(connect(Ipv4Addr::LOCALHOST, stage.world.mqtts()).await);
    }
    let _devices = [stage.talk().await.unwrap(), stage.talk().await.unwrap()];
    assert!(stage.talk().await.is_err());
    let refused = r#"certward_gateway_refused_total{reason="connections_per_address_max"}"#;
    assert_eq!(stage.world.metric(refused), 1);
    stage.world.shut_down().await;
}

#[tokio::test]
async fn an_address_with_many_unfinished_connections_displaces_its_own_and_no_others() {
    let stage = Stage::new(narrow(4, None), true, 0, 0).await;
    let mut slow = stage.hello(Ipv4Addr::new(127, 0, 0, 3)).await;
    for _ in 0..STRANGERS {
        stage.hello(ELSEWHERE).await;
    }
    let mut strangers = Vec::new();
    for _ in 0..STRANGERS {
        strangers.push(connect(ELSEWHERE, stage.world.mqtts()).await);
    }
    eventually("others are displaced", || async { stage.displaced_handshakes() >= STRANGERS as u64 - 8 })
        .await;
    // The gateway still reads.
    slow.write_all(&[21, 3, 3, 0, 2, 2, 80]).await.unwrap();
    eventually("the slow one was still there", || async {
        stage.world.failures(&stage.deployment).contains(&"client_alert")
    })
    .await;
    drop(stage.broker);
    stage.world.shut_down().await;
}
