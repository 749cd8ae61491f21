//! The drain of a node, as devices see it.

use std::time::Duration;

use certward_gateway::{Deadlines, Settings};
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};

use crate::stage::{
    Authority, Broker, Connection, Device, TEST_TIMEOUT, TLS12, TLS13, World, eventually, ready, settings,
};

const HOST: &str = "d.test";

fn drain(time: Duration) -> Settings {
    let settings = settings();
    Settings { deadlines: Deadlines { drain: time, ..settings.deadlines }, ..settings }
}

#[tokio::test]
async fn devices_are_closed_one_by_one_each_with_a_close_notify() {
    let (servers, broker) = (Authority::new("servers"), Broker::echo().await);
    let world = World::with(drain(Duration::from_secs(2))).await;
    let deployment = world.deploy("d", broker.address, &[HOST]).await;
    world.run(&deployment, &servers.server(&[HOST]), &[]).await;
    let device = Device::trusting(&servers);
    let mut staying: Vec<Connection> = Vec::new();
    for _ in 0..20 {
        staying.push(device.talk(world.mqtts(), HOST).await.unwrap());
    }

    world.begin_shutdown();
    eventually("it is not ready any more", || async { !ready(&world.gateway) }).await;
    eventually("nobody new is let in", || async { device.connect(world.mqtts(), HOST).await.is_err() }).await;
    let mut ends: FuturesUnordered<_> = staying
        .into_iter()
        .map(|mut connection| async move {
            connection.ends_cleanly().await;
        })
        .collect();
    ends.next().await.unwrap();
    assert!(world.connections(&deployment) > 0, "the first one is gone, and others are still served");
    assert!(ends.len() > 1 && ends.next().now_or_never().is_none());
    while ends.next().await.is_some() {}
    world.shut_down().await;
}

#[tokio::test]
async fn a_drain_without_connections_is_over_at_once() {
    let mut world = World::with(drain(Duration::from_secs(3600))).await;
    world.begin_shutdown();
    let ended = tokio::time::timeout(TEST_TIMEOUT, world.running()).await;
    ended.expect("a drain of an hour is not waited out").expect("the gateway does not panic");
}

#[tokio::test]
async fn a_drain_is_over_with_its_last_connection() {
    let (servers, broker) = (Authority::new("servers"), Broker::echo().await);
    let mut world = World::with(drain(Duration::from_secs(3600))).await;
    let deployment = world.deploy("d", broker.address, &[HOST]).await;
    world.run(&deployment, &servers.server(&[HOST]), &[]).await;
    let mut last = Device::trusting(&servers).talk(world.mqtts(), HOST).await.unwrap();
    world.begin_shutdown();
    eventually("it is not ready any more", || async { !ready(&world.gateway) }).await;
    last.echo(b"still served").await.unwrap();
    assert!(!world.running().is_finished(), "a connection is left");
    drop(last);
    let ended = tokio::time::timeout(TEST_TIMEOUT, world.running()).await;
    ended.expect("a drain of an hour is not waited out").expect("the gateway does not panic");
}

#[tokio::test]
async fn a_client_that_is_not_trusted_any_more_does_not_outlast_it_in_a_drain() {
    let (servers, broker) = (Authority::new("servers"), Broker::echo().await);
    let world = World::with(drain(Duration::from_secs(3600))).await;
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let deployment = world.deploy("d", broker.address, &[HOST]).await;
    let leaf = servers.server(&[HOST]);
    world.run(&deployment, &leaf, &[&first, &second]).await;
    let device = |ca: &Authority| Device::new(&servers, Some(&ca.client("device")), &[TLS13, TLS12]);
    let mut of_first = device(&first).talk(world.mqtts(), HOST).await.unwrap();
    let mut of_second = device(&second).talk(world.mqtts(), HOST).await.unwrap();
    world.begin_shutdown();
    eventually("it is not ready any more", || async { !ready(&world.gateway) }).await;

    world.put(&deployment, &leaf, &[&second]).await;
    of_first.ends_cleanly().await;
    of_second.echo(b"still trusted").await.unwrap();
    assert_eq!(world.status(&deployment).await, "pending", "a node that drains proves nothing");
    world.delete_tls(&deployment).await;
    of_second.ends_cleanly().await;
    world.shut_down().await;
}

#[tokio::test]
async fn proofs_that_are_held_back_count_when_they_are_given_again() {
    let (world, servers, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let deployment = world.deploy("d", broker.address, &[HOST]).await;
    world.run(&deployment, &servers.server(&[HOST]), &[]).await;
    world.gateway.hold_proofs().await;
    let leaf = servers.server(&[HOST]);
    let proofs = || world.metric(r#"certward_gateway_proofs_total{result="ok"}"#);
    let before = proofs();
    world.put(&deployment, &leaf, &[]).await;
    eventually("it is proven again and again", || async { proofs() > before + 1 }).await;
    assert_eq!(world.status(&deployment).await, "pending");
    assert_eq!(Device::trusting(&servers).talk(world.mqtts(), HOST).await.unwrap().leaf(), leaf.der);
    world.gateway.resume_proofs().await;
    assert_eq!(world.settled(&deployment).await, "running");
    world.shut_down().await;
}

#[tokio::test]
async fn a_node_that_another_process_has_is_not_given_up() {
    let world = World::new().await;
    let store = world.lifecycle.store().clone();
    world.gateway.set_owned_by_other(true);
    let _folder = world.shut_down().await;
    assert_eq!(store.nodes().await.unwrap().len(), 1, "its lease goes on");
}
