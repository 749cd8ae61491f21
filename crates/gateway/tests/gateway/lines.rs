//! Fairness of the handshake queue. The gateway runs on the test's only thread: until the test
//! awaits, nothing is computed.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use socket2::{Domain, Socket, Type};
use tokio::{task::yield_now, time::timeout};

use crate::{
    hello::{Answer, Hello, answer, names, written},
    stage::{Authority, Broker, CONNECT, Device, TEST_TIMEOUT, TLS13, World},
};

const MANY: usize = 200;
/// One may hash to the crowd's queue; all three do once in sixteen million runs.
const ELSEWHERE: [[u8; 4]; 3] = [[127, 0, 0, 3], [127, 0, 0, 4], [127, 0, 0, 5]];

fn connect_from(address: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::from(address), 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.into()
}

fn is_answered(device: &TcpStream) -> bool {
    matches!(device.peek(&mut [0]), Ok(1))
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            yield_now().await;
        }
    };
    timeout(TEST_TIMEOUT, met).await.unwrap_or_else(|_| panic!("it never happens that {what}"));
}

/// How many of the crowd, which sent first, were answered before the first device elsewhere.
async fn went_before(many: &[TcpStream], elsewhere: &[TcpStream]) -> usize {
    until("a device elsewhere is answered", || elsewhere.iter().any(is_answered)).await;
    let before = many.iter().filter(|device| is_answered(device)).count();
    until("everybody's turn comes", || many.iter().chain(elsewhere).all(is_answered)).await;
    before
}

#[tokio::test]
async fn a_device_elsewhere_is_answered_before_most_hellos_of_one_address() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;
    world.run(&deployment, &ca.server(&["d.test"]), &[]).await;
    let hello_from = |address| {
        let mut device = connect_from(address, world.mqtts());
        device.write_all(&Hello::tls13(&names(&[b"d.test"])).records()).unwrap();
        device
    };
    let many: Vec<_> = (0..MANY).map(|_| hello_from([127, 0, 0, 2])).collect();
    let elsewhere = ELSEWHERE.map(hello_from);
    let before = went_before(&many, &elsewhere).await;
    assert!(before <= MANY / 4, "{before} of {MANY} went before");
    world.shut_down().await;
}

struct ByHand {
    client: ClientConnection,
    device: TcpStream,
}

impl ByHand {
    fn new(config: &Arc<ClientConfig>, address: [u8; 4], to: SocketAddr) -> Self {
        let mut client = ClientConnection::new(Arc::clone(config), "d.test".try_into().unwrap()).unwrap();
        let mut device = connect_from(address, to);
        device.write_all(&written(&mut client)).unwrap();
        Self { client, device }
    }

    /// Reads the gateway's first flight and holds back the answer.
    async fn read_flight(&mut self) {
        let heard = async {
            while !self.client.wants_write() || self.client.handshake_kind().is_none() {
                match self.client.read_tls(&mut self.device) {
                    Ok(0) => panic!("the gateway has closed the connection"),
                    Ok(_) => drop(self.client.process_new_packets().unwrap()),
                    Err(_) => yield_now().await,
                }
            }
        };
        timeout(TEST_TIMEOUT, heard).await.expect("the gateway answers");
        // For middleboxes, after a HelloRetryRequest (RFC 8446 §D.4).
        let _ = self.client.read_tls(&mut self.device);
    }

    /// With a CONNECT if the handshake is done.
    fn send_flight(&mut self) {
        if !self.client.is_handshaking() {
            self.client.writer().write_all(CONNECT).unwrap();
        }
        self.device.write_all(&written(&mut self.client)).unwrap();
    }
}

/// [`went_before`] for the flight after the gateway's first.
async fn second_flights(world: &World, config: &Arc<ClientConfig>, kind: HandshakeKind) -> usize {
    let from = |address| ByHand::new(config, address, world.mqtts());
    let mut all: Vec<_> = (0..MANY).map(|_| from([127, 0, 0, 2])).chain(ELSEWHERE.map(from)).collect();
    for one in &mut all {
        one.read_flight().await;
        assert_eq!(one.client.handshake_kind(), Some(kind));
    }
    all.iter_mut().for_each(ByHand::send_flight);
    let mut devices: Vec<_> = all.into_iter().map(|one| one.device).collect();
    let elsewhere = devices.split_off(MANY);
    went_before(&devices, &elsewhere).await
}

#[tokio::test]
async fn second_flights_of_one_address_do_not_delay_devices_elsewhere() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;

    world.run(&deployment, &ca.server(&["d.test"]), &[]).await;
    let device = Device::asked_again(&ca);
    let before = second_flights(&world, &device.config(), HandshakeKind::FullWithHelloRetryRequest).await;
    assert!(before <= MANY / 4, "{before} of {MANY} second hellos went before");

    world.run(&deployment, &ca.server(&["d.test"]), &[&ca]).await;
    let device = Device::new(&ca, Some(&ca.client("device")), &[TLS13]);
    let before = second_flights(&world, &device.config(), HandshakeKind::Full).await;
    assert!(before <= MANY / 2, "{before} of {MANY} certificates went before");
    world.shut_down().await;
}

#[tokio::test]
async fn a_queued_handshake_gets_the_certificate_that_runs_at_its_turn() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;
    world.run(&deployment, &ca.server(&["d.test"]), &[]).await;
    const IN_LINE: usize = 400;
    let mut in_line: Vec<TcpStream> = Vec::new();
    let renewed = ca.server(&["d.test"]);
    let keep_coming = async {
        loop {
            in_line.retain(|device| !is_answered(device));
            while in_line.len() < IN_LINE {
                let mut device = connect_from([127, 0, 0, 2], world.mqtts());
                // TLS 1.2: certificates are not encrypted.
                device.write_all(&Hello::tls12(&names(&[b"d.test"])).records()).unwrap();
                in_line.push(device);
            }
            yield_now().await;
        }
    };
    tokio::select! {
        () = world.run(&deployment, &renewed, &[]) => {}
        () = keep_coming => {}
    }
    in_line.retain(|device| !is_answered(device));
    assert!(in_line.len() > IN_LINE / 4, "only {} stand in line", in_line.len());
    for device in in_line {
        let mut device = tokio::net::TcpStream::from_std(device).unwrap();
        let answer = timeout(TEST_TIMEOUT, answer(&mut device)).await.expect("an answer comes");
        assert!(answer == Answer::Leaf(renewed.der.clone()), "an old certificate after `running`");
    }
    world.shut_down().await;
}
