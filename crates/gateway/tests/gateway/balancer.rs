//! Behind a load balancer: PROXY headers from listed networks only.

use std::net::{Ipv4Addr, SocketAddr};

use certward_gateway::{IpNet, Listener, Protocol, Settings};
use certward_lifecycle::NodeView;
use certward_store::{DeploymentPatch, ProxyProtocol};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::mpsc,
};
use tokio_rustls::TlsConnector;

use crate::stage::{Authority, Broker, CONNECT, Connection, Device, World, any, eventually, id, settings};

const HOST: &str = "d.test";
/// Devices connect directly from [`ELSEWHERE`].
const BALANCER: Ipv4Addr = Ipv4Addr::LOCALHOST;
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 8883\r\n";

struct Stage {
    world: World,
    servers: Authority,
    received: mpsc::Receiver<Vec<u8>>,
    _broker: Broker,
}

impl Stage {
    /// A bound listener: every failure is in its deployment's list.
    async fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let (send, received) = mpsc::channel(9);
        let broker = Broker::new(move |mut stream| {
            let send = send.clone();
            async move {
                let mut all = Vec::new();
                while !all.ends_with(CONNECT) && stream.read_buf(&mut all).await.unwrap_or(0) > 0 {}
                let _ = stream.write_all(CONNECT).await;
                let _ = send.send(all).await;
                let _ = stream.read(&mut [0; 1]).await;
            }
        })
        .await;
        let mut settings = settings();
        settings.listeners = [Protocol::Mqtts, Protocol::Wss]
            .map(|protocol| Listener {
                proxy_protocol_from: vec![IpNet::from(std::net::IpAddr::from(BALANCER))],
                ..Listener::bound_to(id("d"), any(), protocol)
            })
            .into();
        change(&mut settings);
        let (world, servers) = (World::with(settings).await, Authority::new("servers"));
        let deployment = world.deploy("d", broker.address, &[HOST]).await;
        let proxy_protocol = Some(ProxyProtocol::V2);
        world.change(&deployment, DeploymentPatch { proxy_protocol, ..Default::default() }).await;
        // The proof's source address must send a header.
        world.run(&deployment, &servers.server(&[HOST]), &[]).await;
        Self { world, servers, received, _broker: broker }
    }

    async fn tcp(&self, from: Ipv4Addr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(self.world.mqtts()).await.unwrap()
    }

    /// After these bytes.
    async fn talk(&self, from: Ipv4Addr, header: &[u8]) -> std::io::Result<Connection> {
        let mut tcp = self.tcp(from).await;
        tcp.write_all(header).await?;
        let connector = TlsConnector::from(Device::trusting(&self.servers).config());
        let mut connection = Connection(connector.connect(ServerName::try_from(HOST).unwrap(), tcp).await?);
        connection.echo(CONNECT).await?;
        Ok(connection)
    }

    /// From the newest connection's header.
    async fn told(&mut self) -> (SocketAddr, SocketAddr) {
        let bytes = self.received.recv().await.unwrap();
        let (header, _) = proxy_header::ProxyHeader::parse(&bytes, Default::default()).unwrap();
        let address = header.proxied_address().unwrap();
        (address.source, address.destination)
    }

    async fn fails(&self, cause: &str, act: impl Future<Output = ()>) {
        let line = format!(r#"certward_gateway_handshake_failures_total{{cause="{cause}"}}"#);
        let before = self.world.metric(&line);
        act.await;
        eventually(&format!("{cause} is counted"), || async { self.world.metric(&line) > before }).await;
        eventually(&format!("{cause} is listed"), || async {
            self.world.failures(&id("d")).first() == Some(&cause)
        })
        .await;
    }

    async fn send(&self, from: Ipv4Addr, bytes: &[u8]) {
        let mut tcp = self.tcp(from).await;
        let _ = tcp.write_all(bytes).await;
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn the_stated_address_is_the_devices_for_the_broker_and_the_list_of_failures() {
    let mut stage = Stage::new(|_| {}).await;
    let v2 = [
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13".as_slice(),
        &[192, 0, 2, 7, 198, 51, 100, 1],
        &[0xdc, 4, 0x22, 0xb3],
    ]
    .concat();
    let v2 = [&v2, b"\xea\0\x04abcd".as_slice()].concat();
    for header in [V1, &v2] {
        let _connection = stage.talk(BALANCER, header).await.unwrap();
        assert_eq!(stage.told().await, (address("192.0.2.7:56324"), address("198.51.100.1:8883")));
    }
    let _local = stage.talk(BALANCER, b"PROXY UNKNOWN\r\n").await.unwrap();
    let (from, to) = stage.told().await;
    assert_eq!((from.ip(), to), (BALANCER.into(), stage.world.mqtts()));

    let headers = |stated: &str| {
        stage.world.metric(&format!(r#"certward_gateway_proxy_headers_total{{stated="{stated}"}}"#))
    };
    assert_eq!((headers("address"), headers("nothing")), (2, 1));
    let plain_mqtt = [V1, CONNECT].concat();
    stage.fails("plain_mqtt", stage.send(BALANCER, &plain_mqtt)).await;
    assert_eq!(stage.world.gateway.recent_failures(&id("d"))[0].peer, address("192.0.2.7:56324"));
    stage.world.shut_down().await;
}

#[tokio::test]
async fn header_and_hello_may_come_in_one_packet_or_byte_by_byte() {
    let mut stage = Stage::new(|_| {}).await;
    let name = ServerName::try_from(HOST).unwrap();
    for at_once in [true, false] {
        let mut tls =
            rustls::ClientConnection::new(Device::trusting(&stage.servers).config(), name.clone()).unwrap();
        let mut bytes = V1.to_vec();
        while tls.wants_write() {
            tls.write_tls(&mut bytes).unwrap();
        }
        let mut tcp = stage.tcp(BALANCER).await;
        tcp.set_nodelay(true).unwrap();
        if at_once {
            tcp.write_all(&bytes).await.unwrap();
        } else {
            for byte in bytes {
                tcp.write_all(&[byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
        let tcp = tcp.into_std().unwrap();
        tcp.set_nonblocking(false).unwrap();
        let done = tokio::task::spawn_blocking(move || {
            use std::io::Write as _;
            let mut stream = rustls::StreamOwned::new(tls, tcp);
            stream.write_all(CONNECT).and_then(|()| stream.flush()).map(|()| stream)
        });
        let _stream = done.await.unwrap().unwrap();
        assert_eq!(stage.told().await.0, address("192.0.2.7:56324"));
    }
    stage.world.shut_down().await;
}

#[tokio::test]
async fn no_header_from_outside_the_listed_networks_states_an_address() {
    let mut stage = Stage::new(|_| {}).await;
    stage.fails("not_tls", stage.send(ELSEWHERE, V1)).await;
    stage.fails("not_tls", stage.send(ELSEWHERE, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0")).await;
    let _straight = stage.talk(ELSEWHERE, b"").await.unwrap();
    assert_eq!(stage.told().await.0.ip(), ELSEWHERE);
    stage.world.shut_down().await;
}

#[tokio::test]
async fn a_load_balancer_that_sends_no_header_or_a_wrong_one_is_told_apart() {
    let stage = Stage::new(|settings| settings.deadlines.handshake = std::time::Duration::from_secs(1)).await;
    stage.fails("proxy_header_missing", stage.send(BALANCER, b"\x16\x03\x01\x02\0\x01")).await;
    stage.fails("proxy_header_invalid", stage.send(BALANCER, b"PROXY TCP4 192.0.2.7\r\n")).await;
    stage.fails("timeout", stage.send(BALANCER, b"PROXY TCP4 192.0")).await;
    stage
        .fails("closed", async {
            let mut tcp = stage.tcp(BALANCER).await;
            tcp.write_all(b"PROXY TCP4 192.0").await.unwrap();
        })
        .await;
    stage.world.shut_down().await;
}

#[tokio::test]
async fn a_health_check_is_no_failure() {
    let stage = Stage::new(|_| {}).await;
    let nothing = r#"certward_gateway_proxy_headers_total{stated="nothing"}"#;
    for (number, said) in [b"".as_slice(), b"PROXY UNKNOWN\r\n"].into_iter().enumerate() {
        let mut tcp = stage.tcp(BALANCER).await;
        tcp.write_all(said).await.unwrap();
        drop(tcp);
        eventually("it is counted", || async { stage.world.metric(nothing) == number as u64 + 1 }).await;
    }
    assert!(stage.world.failures(&id("d")).is_empty());
    stage.world.shut_down().await;
}

#[tokio::test]
async fn the_limit_of_an_address_holds_for_the_stated_one() {
    let stage = Stage::new(|settings| settings.connections_per_address_max = Some(1)).await;
    let first = stage.talk(BALANCER, V1).await.unwrap();
    assert!(stage.talk(BALANCER, V1).await.is_err(), "the same device once more");
    let _other = stage.talk(BALANCER, b"PROXY TCP4 192.0.2.8 198.51.100.1 1 2\r\n").await.unwrap();
    assert_eq!(
        stage.world.metric(r#"certward_gateway_refused_total{reason="connections_per_address_max"}"#),
        1
    );
    drop(first);
    eventually("its place is free", || async { stage.talk(BALANCER, V1).await.is_ok() }).await;
    stage.world.shut_down().await;
}
