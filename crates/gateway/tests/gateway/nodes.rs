//! Several nodes on one store, and a node that starts again.

use std::{net::SocketAddr, sync::Arc};

use certward_gateway::Gateway;
use certward_lifecycle::SystemEntropy;
use certward_store::{NodeId, SystemClock};
use tokio_util::sync::CancellationToken;

use crate::stage::{Broker, Ca, Device, TLS12, TLS13, World, eventually, ready, settings};

/// Another gateway on the world's store.
async fn another(world: &World, node: &str) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
    let node = NodeId::parse(node).unwrap();
    let mut metrics = prometheus_client::registry::Registry::default();
    let entropy = Arc::new(SystemEntropy);
    let gateway = Gateway::new(settings(), node, Arc::new(SystemClock), entropy, &mut metrics).unwrap();
    let bound = gateway.bind().unwrap();
    let address = bound.addresses()[0];
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let (gateway, lifecycle, shutdown) = (gateway.clone(), world.lifecycle.clone(), shutdown.clone());
        async move { gateway.run(bound, lifecycle, shutdown).await.unwrap() }
    });
    eventually("the other gateway is ready", || async { ready(&gateway) }).await;
    (address, shutdown, running)
}

#[tokio::test]
async fn a_change_runs_when_every_node_has_proven_it_and_a_ticket_of_one_resumes_on_another() {
    let (world, ca, broker) = (World::new().await, Ca::new("servers"), Broker::echo().await);
    let clients = Ca::new("clients");
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;
    world.run(&deployment, &ca.leaf(&["d.test"]), &[]).await;
    let (address, shutdown, running) = another(&world, "node-2").await;
    let leaf = ca.leaf(&["d.test"]);
    world.run(&deployment, &leaf, &[&clients]).await;
    for version in [TLS12, TLS13] {
        let device = Device::new(&ca, Some(&clients.client("device")), &[version]);
        let first = device.talk(world.mqtts(), "d.test").await.unwrap();
        let second = device.talk(address, "d.test").await.unwrap();
        assert_eq!((first.leaf(), second.leaf()), (leaf.der.clone(), leaf.der.clone()));
        assert!(!first.resumed() && second.resumed());
    }
    // A node that leaves is waited for no longer.
    shutdown.cancel();
    running.await.unwrap();
    world.run(&deployment, &ca.leaf(&["d.test"]), &[]).await;
    world.shut_down().await;
}

#[tokio::test]
async fn a_node_that_starts_serves_and_proves_what_was_there_before() {
    let (world, ca, broker) = (World::new().await, Ca::new("servers"), Broker::echo().await);
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;
    let deleted = world.deploy("deleted", broker.address, &["deleted.test"]).await;
    world.run(&deployment, &ca.leaf(&["d.test"]), &[]).await;
    world.run(&deleted, &ca.leaf(&["deleted.test"]), &[]).await;
    world.delete_tls(&deleted).await;
    assert_eq!(world.settled(&deleted).await, "absent");
    let (address, shutdown, running) = another(&world, "node-2").await;
    Device::trusting(&ca).talk(address, "d.test").await.unwrap();
    assert!(Device::trusting(&ca).connect(address, "deleted.test").await.is_err());
    assert_eq!(world.settled(&deployment).await, "running");
    shutdown.cancel();
    running.await.unwrap();
    world.shut_down().await;
}
