//! Deadlines and limits of slow clients.

use std::time::Duration;

use certward_gateway::Settings;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::stage::{
    Authority, Broker, CONNECT, Connection, Device, TEST_TIMEOUT, World, eventually, settings,
};

fn hasty() -> Settings {
    let mut settings = settings();
    settings.deadlines.handshake = Duration::from_millis(300);
    settings.deadlines.first_packet = Duration::from_millis(300);
    settings.deadlines.half_closed = Duration::from_millis(300);
    settings
}

async fn world_with(settings: Settings) -> (World, Authority, Broker) {
    let (world, ca, broker) = (World::with(settings).await, Authority::new("servers"), Broker::echo().await);
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;
    world.run(&deployment, &ca.server(&["d.test"]), &[]).await;
    (world, ca, broker)
}

/// Until the gateway closes.
async fn lasts(socket: &mut TcpStream) -> Duration {
    let begin = Instant::now();
    let mut rest = Vec::new();
    let _ = timeout(TEST_TIMEOUT, socket.read_to_end(&mut rest)).await.expect("it ends");
    begin.elapsed()
}

#[tokio::test]
async fn a_silent_client_is_closed_at_the_deadline_of_the_handshake() {
    let (world, ..) = world_with(hasty()).await;
    let mut socket = TcpStream::connect(world.mqtts()).await.unwrap();
    assert!(lasts(&mut socket).await >= Duration::from_millis(250));
    assert_eq!(world.metric(r#"certward_gateway_handshake_failures_total{cause="timeout"}"#), 1);
    world.shut_down().await;
}

#[tokio::test]
async fn dripping_bytes_do_not_extend_the_deadline() {
    let (world, ..) = world_with(hasty()).await;
    let mut socket = TcpStream::connect(world.mqtts()).await.unwrap();
    let (mut from, mut to) = socket.split();
    let begin = Instant::now();
    let drip = async {
        // A record of 16 KiB that never becomes complete.
        let _ = to.write_all(&[22, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb]).await;
        while to.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut rest = Vec::new();
    tokio::select! {
        () = drip => {}
        _ = from.read_to_end(&mut rest) => {}
    }
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    world.shut_down().await;
}

#[tokio::test]
async fn a_device_without_first_packet_is_closed_with_a_close_notify() {
    let (world, ca, _broker) = world_with(hasty()).await;
    let device = Device::trusting(&ca);
    let mut silent = device.connect(world.mqtts(), "d.test").await.unwrap();
    silent.ends_cleanly().await;
    let mut half: Connection = device.connect(world.mqtts(), "d.test").await.unwrap();
    half.0.write_all(&CONNECT[..5]).await.unwrap();
    half.ends_cleanly().await;
    assert_eq!(world.metric(r#"certward_gateway_closed_total{reason="first_packet_timeout"}"#), 2);
    world.shut_down().await;
}

#[tokio::test]
async fn a_connection_that_talks_outlasts_all_deadlines_of_the_beginning() {
    let (world, ca, _broker) = world_with(hasty()).await;
    let mut connection = Device::trusting(&ca).talk(world.mqtts(), "d.test").await.unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    connection.echo(b"still here").await.unwrap();
    world.shut_down().await;
}

#[tokio::test]
async fn an_idle_connection_ends_only_where_an_idle_deadline_is_set() {
    let mut settings = hasty();
    settings.deadlines.idle = Some(Duration::from_millis(300));
    let (world, ca, _broker) = world_with(settings).await;
    let mut connection = Device::trusting(&ca).talk(world.mqtts(), "d.test").await.unwrap();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        connection.echo(b"ping").await.unwrap();
    }
    connection.ends_cleanly().await;
    assert_eq!(world.metric(r#"certward_gateway_closed_total{reason="idle"}"#), 1);
    world.shut_down().await;
}

#[tokio::test]
async fn a_half_closed_connection_does_not_wait_for_ever() {
    let (world, ca, _broker) = world_with(hasty()).await;
    let deaf = Broker::new(|mut stream| async move {
        let _ = stream.shutdown().await;
        std::future::pending::<()>().await;
    })
    .await;
    let other = world.deploy("deaf", deaf.address, &["deaf.test"]).await;
    world.run(&other, &ca.server(&["deaf.test"]), &[]).await;
    let mut connection = Device::trusting(&ca).connect(world.mqtts(), "deaf.test").await.unwrap();
    connection.0.write_all(CONNECT).await.unwrap();
    connection.ends_cleanly().await;
    eventually("it is let go", || async { world.connections(&other) == 0 }).await;
    world.shut_down().await;
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_and_proofs_are_no_part_of_it() {
    let mut settings = settings();
    settings.connections_max = 2;
    let (world, ca, _broker) = world_with(settings).await;
    let device = Device::trusting(&ca);
    let _first = device.talk(world.mqtts(), "d.test").await.unwrap();
    let second = device.talk(world.mqtts(), "d.test").await.unwrap();
    assert!(device.talk(world.mqtts(), "d.test").await.is_err());
    assert_eq!(world.metric(r#"certward_gateway_refused_total{reason="connections_max"}"#), 1);
    // Proven even at the connection limit.
    world.run(&crate::stage::id("d"), &ca.server(&["d.test"]), &[]).await;
    drop(second);
    eventually("a place becomes free", || async { device.talk(world.mqtts(), "d.test").await.is_ok() }).await;
    world.shut_down().await;
}
