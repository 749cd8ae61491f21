//! Dialling the upstream.

use std::{net::SocketAddr, time::Duration};

use certward_gateway::Settings;
use certward_store::{DeploymentPatch, UpstreamList};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

use crate::stage::{Authority, Broker, CONNECT, Device, TEST_TIMEOUT, World, any, eventually, id, settings};

async fn world_with(upstreams: &[SocketAddr], settings: Settings) -> (World, Device) {
    let (world, ca) = (World::with(settings).await, Authority::new("servers"));
    let deployment = world.deploy("d", upstreams[0], &["d.test"]).await;
    let texts: Vec<_> = upstreams.iter().map(ToString::to_string).collect();
    let upstream = Some(UpstreamList::parse(&texts.join(",")).unwrap());
    world.change(&deployment, DeploymentPatch { upstream, ..DeploymentPatch::default() }).await;
    world.run(&deployment, &ca.server(&["d.test"]), &[]).await;
    (world, Device::trusting(&ca))
}

/// One second to dial.
fn impatient() -> Settings {
    let mut settings = settings();
    settings.deadlines.upstream_connect = Duration::from_secs(1);
    settings
}

async fn expect_failure(world: &World, device: &Device, reason: &str) {
    let line = format!(r#"certward_gateway_upstream_failures_total{{reason="{reason}"}}"#);
    let before = world.metric(&line);
    let mut connection = device.connect(world.mqtts(), "d.test").await.unwrap();
    connection.0.write_all(CONNECT).await.unwrap();
    connection.ends_cleanly().await;
    assert_eq!(world.metric(&line), before + 1, "{reason}");
}

/// Refuses: no other test listens on this loopback address.
fn dead() -> SocketAddr {
    std::net::TcpListener::bind(("127.0.0.9", 0)).unwrap().local_addr().unwrap()
}

/// Its queue is full: connects get no answer.
async fn black_hole() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(any()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        queued.push(stream.unwrap());
    }
    (listener, queued)
}

#[tokio::test]
async fn a_broker_that_is_down_gives_a_clean_close_and_a_counted_reason() {
    let address = dead();
    let (world, device) = world_with(&[address], settings()).await;
    expect_failure(&world, &device, "refused").await;
    assert_eq!(world.metric("certward_gateway_upstreams_down"), 1);
    expect_failure(&world, &device, "refused").await;
    assert_eq!(world.metric(r#"certward_gateway_upstream_changes_total{to="down"}"#), 1, "once a change");
    world.shut_down().await;
}

#[tokio::test]
async fn devices_fail_over_to_the_next_address_and_go_back_to_the_first() {
    let (first, second) = (dead(), Broker::named("second").await);
    let (world, device) = world_with(&[first, second.address], settings()).await;
    let answer = async || {
        let mut connection = device.connect(world.mqtts(), "d.test").await.unwrap();
        connection.0.write_all(CONNECT).await.unwrap();
        let mut answer = String::new();
        connection.0.read_to_string(&mut answer).await.map(|_| answer)
    };
    assert_eq!(answer().await.unwrap(), "second");
    let _first = Broker::named_at(first, "first").await;
    eventually("the first is preferred again", async || answer().await.unwrap() == "first").await;
    assert_eq!(world.metric("certward_gateway_upstreams_down"), 0);
    world.shut_down().await;
}

#[tokio::test]
async fn with_half_of_its_addresses_dead_or_silent_every_device_reaches_its_broker() {
    let (broker, other) = (Broker::echo().await, Broker::echo().await);
    let (hole, _queued) = black_hole().await;
    let addresses = [dead(), hole.local_addr().unwrap(), broker.address, other.address];
    let (world, device) = world_with(&addresses, settings()).await;
    for _ in 0..20 {
        device.talk(world.mqtts(), "d.test").await.unwrap();
    }
    world.shut_down().await;
}

#[tokio::test]
async fn with_all_of_its_addresses_dead_a_device_is_closed_cleanly() {
    let (hole, _queued) = black_hole().await;
    let (world, device) = world_with(&[dead(), dead()], impatient()).await;
    expect_failure(&world, &device, "refused").await;
    world.shut_down().await;
    let (world, device) = world_with(&[hole.local_addr().unwrap()], impatient()).await;
    expect_failure(&world, &device, "timeout").await;
    world.shut_down().await;
}

#[tokio::test]
async fn a_broker_that_accepts_and_never_answers_holds_only_the_device_that_waits_for_it() {
    let silent = Broker::new(|stream| async move {
        tokio::time::sleep(10 * TEST_TIMEOUT).await;
        drop(stream);
    })
    .await;
    let mut settings = settings();
    settings.deadlines.half_closed = Duration::from_millis(100);
    let (world, device) = world_with(&[silent.address], settings).await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut connection = device.connect(world.mqtts(), "d.test").await.unwrap();
        connection.0.write_all(CONNECT).await.unwrap();
        waiting.push(connection);
    }
    let deployment = id("d");
    eventually("they are connected", async || world.connections(&deployment) == 3).await;
    assert_eq!(world.metric("certward_gateway_upstreams_down"), 0);
    drop(waiting);
    eventually("they are let go", async || world.connections(&deployment) == 0).await;
    world.shut_down().await;
}

#[tokio::test]
async fn a_broker_that_resets_ends_its_devices_connections_cleanly() {
    let at_once = Broker::new(|stream| async move { stream.set_zero_linger().unwrap() }).await;
    let after_connect = Broker::new(|mut stream| async move {
        let _ = stream.read_exact(&mut [0; CONNECT.len()]).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    for broker in [at_once, after_connect] {
        let (world, device) = world_with(&[broker.address], settings()).await;
        for times in 1..=3 {
            let mut connection = device.connect(world.mqtts(), "d.test").await.unwrap();
            connection.0.write_all(CONNECT).await.unwrap();
            connection.ends_cleanly().await;
            let line = r#"certward_gateway_closed_total{reason="upstream_broken"}"#;
            eventually("it is counted", async || world.metric(line) == times).await;
        }
        assert_eq!(world.metric("certward_gateway_upstreams_down"), 0, "it answers");
        world.shut_down().await;
    }
}

#[tokio::test]
async fn an_upstream_outside_the_allowed_networks_is_not_reached() {
    let mut settings = settings();
    settings.upstream_allow = Some(vec!["10.0.0.0/8".parse().unwrap()]);
    let broker = Broker::new(|_| async { panic!("the broker was reached") }).await;
    let (world, device) = world_with(&[broker.address], settings).await;
    expect_failure(&world, &device, "not_allowed").await;
    world.shut_down().await;
}

#[tokio::test]
async fn an_address_that_is_not_allowed_is_passed_over() {
    let mut settings = settings();
    settings.upstream_allow = Some(vec!["127.0.0.1/32".parse().unwrap()]);
    let forbidden = TcpListener::bind("127.0.0.8:0").await.unwrap();
    let broker = Broker::echo().await;
    let (world, device) = world_with(&[forbidden.local_addr().unwrap(), broker.address], settings).await;
    device.talk(world.mqtts(), "d.test").await.unwrap();
    let reached = tokio::time::timeout(Duration::from_millis(50), forbidden.accept()).await;
    assert!(reached.is_err(), "{reached:?}");
    world.shut_down().await;
}

#[tokio::test]
async fn the_gateway_does_not_connect_to_itself() {
    let (world, ca) = (World::new().await, Authority::new("servers"));
    let deployment = world.deploy("d", world.wss(), &["d.test"]).await;
    world.run(&deployment, &ca.server(&["d.test"]), &[]).await;
    expect_failure(&world, &Device::trusting(&ca), "own_listener").await;
    world.shut_down().await;
}

#[tokio::test]
async fn brokers_are_reached_from_the_sources_that_are_configured() {
    let mut settings = settings();
    settings.upstream_source = vec!["127.0.0.5".parse().unwrap()];
    let broker = Broker::new(|mut stream| async move {
        let from = stream.peer_addr().unwrap().ip().to_string();
        let _ = stream.write_all(from.as_bytes()).await;
    })
    .await;
    let (world, device) = world_with(&[broker.address], settings).await;
    let mut connection = device.connect(world.mqtts(), "d.test").await.unwrap();
    connection.0.write_all(CONNECT).await.unwrap();
    let mut seen = String::new();
    connection.0.read_to_string(&mut seen).await.unwrap();
    assert_eq!(seen, "127.0.0.5");
    world.shut_down().await;
}
