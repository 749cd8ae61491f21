//! Every cause of a failed handshake, provoked, and what the operator is shown of it.

use std::{net::SocketAddr, time::Duration};

use certward_gateway::{Listener, Protocol};
use certward_lifecycle::NodeView;
use certward_store::DeploymentId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    hello::{Hello, extension, names, vec16},
    stage::{Broker, CONNECT, Ca, Device, Pair, TLS12, TLS13, World, any, eventually, id, settings},
};

const HOST: &str = "d.test";

/// A deployment with a listener of its own, so that every failure is known to be its.
struct Stage {
    world: World,
    deployment: DeploymentId,
    servers: Ca,
    clients: Ca,
    leaf: Pair,
    _broker: Broker,
}

impl Stage {
    async fn new() -> Self {
        let mut settings = settings();
        settings.listeners.push(Listener::bound_to(id("d"), any(), Protocol::Mqtts));
        settings.deadlines.handshake = Duration::from_millis(700);
        let (world, servers, clients) = (World::with(settings).await, Ca::new("servers"), Ca::new("clients"));
        let broker = Broker::echo().await;
        let deployment = world.deploy_with("d", broker.address, Some(broker.address), &[HOST]).await;
        let leaf = servers.leaf(&[HOST]);
        Self { world, deployment, servers, clients, leaf, _broker: broker }
    }

    fn bound(&self) -> SocketAddr {
        self.world.addresses[2]
    }

    /// Waits for one failure more, and gives it.
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

    async fn send(&self, to: SocketAddr, bytes: &[u8]) {
        let mut socket = TcpStream::connect(to).await.unwrap();
        let _ = socket.write_all(bytes).await;
        let _ = socket.read_to_end(&mut Vec::new()).await;
    }

    /// Begins a handshake of TLS 1.2, and goes on with `bytes` after the server's first flight.
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
    let alpn = extension(16, &vec16(b"\x04mqtt"));
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
        assert_eq!(failure.tls_version, Some("1.2"));
    }
    stage
        .expect("timeout", "timeout", async |stage| {
            let mut socket = TcpStream::connect(stage.bound()).await.unwrap();
            let _ = socket.read_to_end(&mut Vec::new()).await;
        })
        .await;
    let stranger = Device::trusting(&Ca::new("others"));
    for device in [stranger.clone(), stranger] {
        let failing = async |stage: &Stage| drop(device.connect(stage.bound(), HOST).await);
        stage.expect("a device of another CA", "client_unknown_ca", failing).await;
    }
    stage.world.shut_down().await;
}

#[tokio::test]
async fn what_is_wrong_with_the_devices_certificate_is_named() {
    let stage = Stage::new().await;
    stage.world.run(&stage.deployment, &stage.leaf, &[&stage.clients]).await;
    let hour = Duration::from_secs(3600);
    let same_name = Ca::new("clients");
    let early = stage.clients.client_from("early", hour);
    let cases: [(&str, Option<Pair>); 6] = [
        ("certificate_required", None),
        ("certificate_unknown_issuer", Some(Ca::new("strangers").client("device"))),
        ("certificate_bad_signature", Some(same_name.client("device"))),
        ("certificate_wrong_purpose", Some(stage.clients.leaf(&["device"]))),
        ("certificate_not_yet_valid", Some(early)),
        ("certificate_invalid", Some(stage.clients.client_that_is_a_ca("device"))),
    ];
    let short = stage.clients.client_for("short", hour);
    for version in [TLS12, TLS13] {
        for (cause, pair) in &cases {
            let device = Device::new(&stage.servers, pair.as_ref(), &[version]);
            let failing = async |stage: &Stage| drop(device.talk(stage.bound(), HOST).await);
            stage.expect(cause, cause, failing).await;
        }
    }
    stage.world.clock.advance(hour * 2);
    for version in [TLS12, TLS13] {
        let device = Device::new(&stage.servers, Some(&short), &[version]);
        let failing = async |stage: &Stage| drop(device.talk(stage.bound(), HOST).await);
        stage.expect("expired", "certificate_expired", failing).await;
    }
    stage.world.shut_down().await;
}
