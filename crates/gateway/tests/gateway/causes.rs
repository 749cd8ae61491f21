//! Every cause of a failed handshake, provoked, and its entry in the list.

use std::{net::SocketAddr, time::Duration};

use certward_gateway::{Listener, Protocol, Settings};
use certward_lifecycle::NodeView;
use certward_pki::{ClientCertificate, NeededCa};
use certward_store::DeploymentId;
use rcgen::{BasicConstraints, IsCa};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    hello::{Hello, extension, names, vec16},
    stage::{
        Authority, Broker, CONNECT, Device, Leaf, TLS12, TLS13, World, any, eventually, from_now, id,
        settings,
    },
};

const HOST: &str = "d.test";

/// Its bound listener owns every failure.
struct Stage {
    world: World,
    deployment: DeploymentId,
    servers: Authority,
    clients: Authority,
    leaf: Leaf,
    _broker: Broker,
}

impl Stage {
    async fn new() -> Self {
        let mut settings = settings();
        settings.deadlines.handshake = Duration::from_millis(700);
        Self::with(settings).await
    }

    async fn with(mut settings: Settings) -> Self {
        settings.listeners.push(Listener::bound_to(id("d"), any(), Protocol::Mqtts));
        let (world, servers, clients) =
            (World::with(settings).await, Authority::new("servers"), Authority::new("clients"));
        let broker = Broker::echo().await;
        let deployment = world.deploy_with("d", broker.address, Some(broker.address), &[HOST]).await;
        let leaf = servers.server(&[HOST]);
        Self { world, deployment, servers, clients, leaf, _broker: broker }
    }

    fn bound(&self) -> SocketAddr {
        self.world.addresses[2]
    }

    async fn next_failure(&self, before: usize, case: &str) -> certward_lifecycle::FailedHandshake {
        let all = || self.world.gateway.recent_failures(&self.deployment);
        eventually(case, || async { all().len() > before }).await;
        assert_eq!(all().len(), before + 1, "{case}");
        all().swap_remove(0)
    }

    async fn expect(&self, case: &str, cause: &str, provoke: impl AsyncFnOnce(&Self)) {
        let before = self.world.gateway.recent_failures(&self.deployment).len();
        provoke(self).await;
        let failure = self.next_failure(before, case).await;
        assert_eq!(failure.cause, cause, "{case}");
        assert!(failure.peer.ip().is_loopback());
        assert!(!failure.remedy.is_empty() && !failure.meaning.is_empty());
    }

    fn newest_certificate(&self) -> Option<ClientCertificate> {
        let newest = self.world.gateway.recent_failures(&self.deployment).swap_remove(0);
        newest.client_certificate.map(|certificate| *certificate)
    }

    async fn send(&self, to: SocketAddr, bytes: &[u8]) {
        let mut socket = TcpStream::connect(to).await.unwrap();
        let _ = socket.write_all(bytes).await;
        let _ = socket.read_to_end(&mut Vec::new()).await;
    }

    /// TLS 1.2, up to the server's first flight, then `bytes`.
    async fn go_on_with(&self, bytes: &[u8]) {
        let mut socket = TcpStream::connect(self.bound()).await.unwrap();
        socket.write_all(&Hello::tls12(&names(&[HOST.as_bytes()])).records()).await.unwrap();
        let _ = socket.read(&mut [0; 4096]).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        socket.shutdown().await.unwrap();
        let _ = socket.read_to_end(&mut Vec::new()).await;
    }
}

fn with(change: impl FnOnce(&mut Hello)) -> Vec<u8> {
    let mut hello = Hello::tls12(&names(&[HOST.as_bytes()]));
    change(&mut hello);
    hello.records()
}

fn alert(description: u8) -> Vec<u8> {
    vec![21, 3, 3, 0, 2, 2, description]
}

#[tokio::test]
async fn what_is_wrong_with_the_hello_is_named() {
    let stage = Stage::new().await;
    let no_certificate = Hello::tls12(&[]).records();
    stage
        .expect("before any certificate", "no_certificate_set", async |stage| {
            stage.send(stage.bound(), &no_certificate).await;
        })
        .await;
    stage.world.run(&stage.deployment, &stage.leaf, &[]).await;
    let group = |hello: &mut Hello| {
        hello.extensions =
            [extension(10, &vec16(&[0x7f, 1])), extension(11, &[1, 0]), extension(13, &vec16(&[4, 3]))]
                .concat();
    };
    let signature = |hello: &mut Hello| {
        hello.extensions =
            [extension(10, &vec16(&[0, 0x1d])), extension(11, &[1, 0]), extension(13, &vec16(&[2, 2]))]
                .concat();
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("plain_mqtt", CONNECT.to_vec()),
        ("plain_http", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("not_tls", vec![0; 64]),
        ("malformed", b"\x16\x03\x01\0\x05\x01\0\0\x01\0".to_vec()),
        ("no_common_version", with(|hello| hello.version = [3, 2])),
        ("no_common_cipher", with(|hello| hello.suites = vec![0, 0x2f])),
        ("no_common_group", with(group)),
        ("no_common_signature", with(signature)),
        ("invalid_name", Hello::tls12(&names(&[b"a..b"])).records()),
    ];
    for (cause, bytes) in cases {
        stage.expect(cause, cause, async |stage| stage.send(stage.bound(), &bytes).await).await;
    }
    let invalid_names: [(&[u8], &str); 3] =
        [(b"d.test:8883", "d.test:8883"), (b"[d.test]", "[d.test]"), (b"a\x1b\xffb", "a??b")];
    for (name, shown) in invalid_names {
        let hello = Hello::tls12(&names(&[name])).records();
        stage.expect(shown, "invalid_name", async |stage| stage.send(stage.bound(), &hello).await).await;
        let failure = stage.world.gateway.recent_failures(&stage.deployment).swap_remove(0);
        assert_eq!(failure.detail.as_deref(), Some(shown));
    }
    let alpn = extension(16, &vec16(b"\x02h2"));
    let alpn = Hello::tls12(&[names(&[HOST.as_bytes()]), alpn].concat()).records();
    stage
        .expect("no_common_protocol", "no_common_protocol", async |stage| {
            stage.send(stage.world.wss(), &alpn).await;
        })
        .await;
    stage.send(stage.world.mqtts(), &Hello::tls12(&[]).records()).await;
    let unknown = r#"certward_gateway_handshake_failures_total{cause="unknown_name"}"#;
    eventually("it is counted", || async { stage.world.metric(unknown) == 1 }).await;
    stage.world.shut_down().await;
}

#[tokio::test]
async fn what_is_wrong_with_the_first_packet_is_named_with_what_came() {
    let mut settings = settings();
    settings.deadlines.first_packet = Duration::from_millis(300);
    let stage = Stage::with(settings).await;
    stage.world.run(&stage.deployment, &stage.leaf, &[]).await;
    let (v3, v5): (&[u8], &[u8]) = (&[0x20, 2, 0, 1], &[0x20, 3, 0, 0x84, 0]);
    let (mqtts, wss) = (stage.bound(), stage.world.wss());
    let unknown = "mqtt_level_unknown";
    // Listener, first bytes, answer, cause, received.
    type Case<'a> = (SocketAddr, &'a [u8], &'a [u8], &'a str, Option<&'a str>);
    let cases: [Case<'_>; 9] = [
        (mqtts, b"\x10\x0c\0\x04MQTT\x06\x02\0\x3c\0\0", v5, unknown, Some("MQTT level 6")),
        (mqtts, b"\x10\x0c\0\x04MQTT\x86\x02\0\x3c\0\0", v5, unknown, Some("MQTT level 134")),
        (mqtts, b"\x10\x0c\0\x04MQTT\x03\x02\0\x3c\0\0", v3, unknown, Some("MQTT level 3")),
        (mqtts, b"\x10\x0e\0\x06MQIsdp\x04\x02\0\x3c\0\0", v3, unknown, Some("MQTT level 4")),
        (mqtts, b"GET / HTTP/1.1\r\n\r\n", b"", "wrong_protocol", Some("an HTTP request")),
        (mqtts, b"\x30\x05\0\x01axy", b"", "wrong_protocol", Some("neither a CONNECT nor an HTTP request")),
        (wss, CONNECT, b"", "wrong_protocol", Some("an MQTT CONNECT, or the beginning of one")),
        (wss, b"canary password", b"", "wrong_protocol", Some("neither a CONNECT nor an HTTP request")),
        (mqtts, &CONNECT[..5], b"", "connect_timeout", None),
    ];
    for version in [TLS12, TLS13] {
        let device = Device::new(&stage.servers, None, &[version]);
        for (to, first, answer, cause, came) in cases {
            let before = stage.world.gateway.recent_failures(&stage.deployment).len();
            let mut connection = device.connect(to, HOST).await.unwrap();
            connection.0.write_all(first).await.unwrap();
            let mut all = Vec::new();
            // close_notify follows.
            connection.0.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, answer, "{first:?}");
            let failure = stage.next_failure(before, cause).await;
            assert_eq!((&*failure.cause, failure.detail.as_deref()), (cause, came), "{first:?}");
        }
    }
    stage.world.shut_down().await;
}

#[tokio::test]
async fn a_device_that_asks_for_mqtt_alone_is_served_on_every_listener() {
    let stage = Stage::new().await;
    stage.world.run(&stage.deployment, &stage.leaf, &[]).await;
    // Listener, ALPN offers, result.
    type Case<'a> = (SocketAddr, &'a [&'a [u8]], Option<&'a [u8]>);
    let cases: [Case<'_>; 4] = [
        (stage.world.wss(), &[b"mqtt"], None),
        (stage.world.wss(), &[b"mqtt", b"http/1.1"], Some(b"http/1.1")),
        (stage.world.mqtts(), &[b"mqtt"], None),
        (stage.bound(), &[b"mqtt", b"x-amzn-mqtt-ca"], None),
    ];
    for version in [TLS12, TLS13] {
        for (to, offered, agreed) in cases {
            let mut config =
                rustls::ClientConfig::clone(&Device::new(&stage.servers, None, &[version]).config());
            config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
            let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
            let stream = TcpStream::connect(to).await.unwrap();
            let name = rustls::pki_types::ServerName::try_from(HOST).unwrap();
            let stream = connector.connect(name, stream).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), agreed, "{offered:?}");
        }
    }
    stage.world.shut_down().await;
}

#[tokio::test]
async fn what_the_device_says_of_our_certificate_is_named_with_name_and_version() {
    let stage = Stage::new().await;
    stage.world.run(&stage.deployment, &stage.leaf, &[]).await;
    let finished = [22, 3, 3, 0, 4, 20, 0, 0, 0];
    let cases: [(&str, Vec<u8>); 7] = [
        ("client_unknown_ca", alert(48)),
        ("client_certificate_expired", alert(45)),
        ("client_refused_certificate", alert(42)),
        ("client_refused_certificate", alert(46)),
        ("client_alert", alert(80)),
        ("closed", Vec::new()),
        ("protocol", finished.to_vec()),
    ];
    for (cause, bytes) in cases {
        stage.expect(cause, cause, async |stage| stage.go_on_with(&bytes).await).await;
        let failure = stage.world.gateway.recent_failures(&stage.deployment).swap_remove(0);
        assert_eq!(failure.server_name.as_deref(), Some(HOST));
        assert_eq!(failure.tls_version.as_deref(), Some("1.2"));
    }
    stage
        .expect("timeout", "timeout", async |stage| {
            let mut socket = TcpStream::connect(stage.bound()).await.unwrap();
            let _ = socket.read_to_end(&mut Vec::new()).await;
        })
        .await;
    let stranger = Device::trusting(&Authority::new("others"));
    for device in [stranger.clone(), stranger] {
        let failing = async |stage: &Stage| drop(device.connect(stage.bound(), HOST).await);
        stage.expect("a device of another CA", "client_unknown_ca", failing).await;
    }
    stage.world.shut_down().await;
}

fn expected(leaf: &Leaf, needed_ca: &Option<NeededCa>) -> ClientCertificate {
    ClientCertificate { needed_ca: needed_ca.clone(), ..ClientCertificate::of(&leaf.der) }
}

#[tokio::test]
async fn an_accepted_certificate_names_the_device_that_fails_later() {
    let stage = Stage::new().await;
    stage.world.run(&stage.deployment, &stage.leaf, &[&stage.clients]).await;
    let leaf = stage.clients.client("device");
    for version in [TLS12, TLS13] {
        let device = Device::new(&stage.servers, Some(&leaf), &[version]);
        let failing = async |stage: &Stage| {
            let mut connection = device.connect(stage.bound(), HOST).await.unwrap();
            connection.echo(b"GET / HTTP/1.1\r\n\r\n").await.expect_err("another protocol");
        };
        stage.expect("another protocol", "wrong_protocol", failing).await;
        assert_eq!(stage.newest_certificate(), Some(expected(&leaf, &None)));
    }
    stage.world.shut_down().await;
}

#[tokio::test]
async fn what_is_wrong_with_the_devices_certificate_is_named() {
    let stage = Stage::new().await;
    stage.world.run(&stage.deployment, &stage.leaf, &[&stage.clients]).await;
    let hour = Duration::from_secs(3600);
    let (same_name, strangers) = (Authority::new("clients"), Authority::new("strangers"));
    let early = stage.clients.client_with("early", |params| params.not_before = from_now(hour));
    let authority = stage.clients.client_with("device", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let named = |name: &str, is_name_known| Some(NeededCa { name: name.into(), is_name_known });
    let hostile = strangers.client(&"\u{202e}\n".repeat(3000));
    let below = strangers.intermediate("sub").client("device");
    let without_key = Leaf { key_pem: early.key_pem.clone(), ..stage.clients.client("device") };
    let unreadable = Leaf { der: b"no certificate".to_vec(), ..stage.clients.client("device") };
    let cases: [(&str, Option<Leaf>, Option<NeededCa>); 10] = [
        ("certificate_required", None, None),
        ("certificate_unknown_issuer", Some(strangers.client("device")), named("CN=strangers", false)),
        ("certificate_unknown_issuer", Some(below), named("CN=strangers", false)),
        ("certificate_unknown_issuer", Some(hostile), named("CN=strangers", false)),
        ("certificate_bad_signature", Some(same_name.client("device")), named("CN=clients", true)),
        ("certificate_bad_signature", Some(without_key), None),
        ("certificate_wrong_purpose", Some(stage.clients.server(&["device"])), None),
        ("certificate_not_yet_valid", Some(early), None),
        ("certificate_is_ca", Some(authority), None),
        ("certificate_encoding", Some(unreadable), None),
    ];
    let short = stage.clients.client_with("short", |params| params.not_after = from_now(hour));
    for version in [TLS12, TLS13] {
        for (cause, leaf, needed) in &cases {
            let device = Device::new(&stage.servers, leaf.as_ref(), &[version]);
            let failing = async |stage: &Stage| drop(device.talk(stage.bound(), HOST).await);
            stage.expect(cause, cause, failing).await;
            assert_eq!(
                stage.newest_certificate(),
                leaf.as_ref().map(|leaf| expected(leaf, needed)),
                "{cause}"
            );
        }
    }
    let new = |version| Device::new(&stage.servers, Some(&short), &[version]);
    let ticketed = [TLS12, TLS13].map(new);
    for device in &ticketed {
        device.talk(stage.bound(), HOST).await.unwrap();
    }
    stage.world.clock.advance(hour * 2);
    for device in [TLS12, TLS13].map(new).into_iter().chain(ticketed) {
        let failing = async |stage: &Stage| drop(device.talk(stage.bound(), HOST).await);
        stage.expect("expired", "certificate_expired", failing).await;
        assert_eq!(stage.newest_certificate(), Some(expected(&short, &None)));
    }
    stage.world.shut_down().await;
}
