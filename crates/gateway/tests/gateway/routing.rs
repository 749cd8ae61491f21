//! Which deployment a device reaches.

use certward_gateway::{Listener, Protocol};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::stage::{Authority, Broker, CONNECT, Device, TLS12, TLS13, World, any, id, settings};

/// The broker's name, or the error.
async fn answer(device: &Device, to: std::net::SocketAddr, name: &str) -> String {
    let connection = device.connect(to, name).await;
    let mut connection = match connection {
        Ok(connection) => connection,
        Err(error) => return error.to_string(),
    };
    connection.0.write_all(CONNECT).await.unwrap();
    let mut answer = String::new();
    match connection.0.read_to_string(&mut answer).await {
        Ok(_) => answer,
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_name_leads_to_its_deployment_the_exact_host_before_the_wildcard() {
    let (world, ca) = (World::new().await, Authority::new("servers"));
    let (a, b) = (Broker::named("a").await, Broker::named("b").await);
    let exact = world.deploy("exact", a.address, &["x.one.test", "single"]).await;
    let wide = world.deploy("wide", b.address, &["*.one.test"]).await;
    world.run(&exact, &ca.server(&["x.one.test", "single"]), &[]).await;
    world.run(&wide, &ca.server(&["*.one.test"]), &[]).await;
    let cases = [
        ("x.one.test", "a"),
        ("X.One.TEST", "a"),
        ("single", "a"),
        ("y.one.test", "b"),
        ("one.test", "received fatal alert: UnrecognisedName"),
        ("z.y.one.test", "received fatal alert: UnrecognisedName"),
        ("other.test", "received fatal alert: UnrecognisedName"),
        // An address is never sent as SNI.
        ("127.0.0.1", "received fatal alert: UnrecognisedName"),
    ];
    for device in [Device::new(&ca, None, &[TLS13]), Device::new(&ca, None, &[TLS12])] {
        for (name, expected) in cases {
            assert_eq!(answer(&device, world.mqtts(), name).await, expected, "{name}");
        }
    }
    world.shut_down().await;
}

#[tokio::test]
async fn the_default_deployment_takes_unknown_and_missing_names_of_shared_listeners() {
    let mut settings = settings();
    settings.default_deployment = Some(id("fallback"));
    let (world, ca) = (World::with(settings).await, Authority::new("servers"));
    let (a, b) = (Broker::named("a").await, Broker::named("b").await);
    let known = world.deploy("known", a.address, &["known.test"]).await;
    let fallback = world.deploy("fallback", b.address, &[]).await;
    world.run(&known, &ca.server(&["known.test"]), &[]).await;
    world.run(&fallback, &ca.server(&["known.test", "unknown.test"]), &[]).await;
    let device = Device::trusting(&ca);
    assert_eq!(answer(&device, world.mqtts(), "known.test").await, "a");
    assert_eq!(answer(&device, world.mqtts(), "unknown.test").await, "b");
    assert_eq!(answer(&device.without_sni(), world.mqtts(), "known.test").await, "b");
    world.shut_down().await;
}

#[tokio::test]
async fn a_bound_listener_is_its_deployments_whatever_name_is_sent() {
    let mut settings = settings();
    settings.listeners.push(Listener::bound_to(id("bound"), any(), Protocol::Mqtts));
    let (world, ca) = (World::with(settings).await, Authority::new("servers"));
    let (a, b) = (Broker::named("a").await, Broker::named("b").await);
    let other = world.deploy("other", a.address, &["other.test"]).await;
    let bound = world.deploy("bound", b.address, &[]).await;
    world.run(&other, &ca.server(&["other.test"]), &[]).await;
    world.run(&bound, &ca.server(&["other.test"]), &[]).await;
    let device = Device::trusting(&ca);
    for device in [device.clone(), device.without_sni()] {
        assert_eq!(answer(&device, world.addresses[2], "other.test").await, "b");
    }
    assert_eq!(answer(&device, world.mqtts(), "other.test").await, "a");
    world.shut_down().await;
}

#[tokio::test]
async fn a_hello_in_one_byte_records_and_packets_is_understood() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;
    world.run(&deployment, &ca.server(&["d.test"]), &[]).await;

    let mut tls = rustls::ClientConnection::new(
        Device::trusting(&ca).config(),
        rustls::pki_types::ServerName::try_from("d.test").unwrap(),
    )
    .unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    let mut socket = TcpStream::connect(world.mqtts()).await.unwrap();
    socket.set_nodelay(true).unwrap();
    for byte in &hello[5..] {
        socket.write_all(&[22, 3, 1, 0, 1, *byte]).await.unwrap();
    }
    let mut server_hello = [0; 5];
    socket.read_exact(&mut server_hello).await.unwrap();
    assert_eq!(server_hello[0], 22, "a handshake record answers");
    world.shut_down().await;
}

#[tokio::test]
async fn plain_http_gets_an_alert_and_is_counted() {
    let world = World::new().await;
    let mut socket = TcpStream::connect(world.mqtts()).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer.first(), Some(&21), "an alert, and then the end: {answer:?}");
    assert_eq!(world.metric(r#"certward_gateway_handshake_failures_total{cause="plain_http"}"#), 1);
    world.shut_down().await;
}

#[tokio::test]
async fn a_host_that_is_added_leads_here_and_one_that_is_taken_away_does_not() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::named("d").await);
    let deployment = world.deploy("d", broker.address, &["old.test"]).await;
    world.run(&deployment, &ca.server(&["old.test", "new.test"]), &[]).await;
    let hosts = Some(vec![certward_pki::HostName::parse("new.test").unwrap()]);
    world.change(&deployment, certward_store::DeploymentPatch { hosts, ..Default::default() }).await;
    assert_eq!(world.settled(&deployment).await, "running");
    let device = Device::trusting(&ca);
    assert_eq!(answer(&device, world.mqtts(), "new.test").await, "d");
    assert_eq!(answer(&device, world.mqtts(), "old.test").await, "received fatal alert: UnrecognisedName");
    world.shut_down().await;
}

#[tokio::test]
async fn a_deployment_without_certificate_is_refused_alone() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::named("d").await);
    let bare = world.deploy("bare", broker.address, &["bare.test"]).await;
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;
    world.run(&deployment, &ca.server(&["d.test"]), &[]).await;
    let device = Device::trusting(&ca);
    assert_eq!(answer(&device, world.mqtts(), "bare.test").await, "received fatal alert: HandshakeFailure");
    assert_eq!(world.failures(&bare), ["no_certificate_set"]);
    assert_eq!(answer(&device, world.mqtts(), "d.test").await, "d");
    world.shut_down().await;
}
