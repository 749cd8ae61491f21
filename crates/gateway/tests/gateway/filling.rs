//! The warm-up of the host index, which one unreadable row prevents from ending.

use std::sync::Arc;

use certward_gateway::{Gateway, NodeReplica, Settings, Unbound};
use certward_lifecycle::SystemEntropy;
use certward_store::{NodeId, Replica};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::stage::{
    Authority, Broker, Device, RunningNode, World, eventually, id, lifecycle_of, master_key, ready, settings,
};

/// Another node, whose index stays empty.
async fn unfilled(world: &World, settings: Settings) -> (Gateway, std::net::SocketAddr, CancellationToken) {
    unfilled_with(world, settings, None).await
}

/// With a complete replica.
async fn unfilled_with(
    world: &World,
    settings: Settings,
    snapshot: Option<Replica>,
) -> (Gateway, std::net::SocketAddr, CancellationToken) {
    // The first and invalid id.
    world
        .sql(
            "INSERT INTO deployment (id, project, name, upstream, created_at, generation, tls_state)
             VALUES (' ', 'default', '', '127.0.0.1:1', 0, 1, 'absent')",
        )
        .await;
    let mut metrics = prometheus_client::registry::Registry::default();
    let node = NodeId::parse("node-2").unwrap();
    let replica = match snapshot {
        Some(replica) => Some(NodeReplica { mark: replica.mark().await.unwrap(), replica }),
        None => None,
    };
    let entropy = Arc::new(SystemEntropy);
    let gateway = Unbound::new(settings, node, world.clock.clone(), entropy, replica, &mut metrics).unwrap();
    let bound = gateway.bind(|_| None).unwrap();
    let lifecycle = lifecycle_of(bound.gateway(), world.lifecycle.store().clone());
    let RunningNode { gateway, addresses, shutdown, .. } = RunningNode::start(bound, lifecycle);
    eventually("the node is ready", || async { ready(&gateway) }).await;
    (gateway, addresses[0], shutdown)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_name_leads_where_it_would_by_a_full_index() {
    let world = World::new().await;
    let (wild, exact, other) = (Broker::echo().await, Broker::echo().await, Broker::echo().await);
    let ca = Authority::new("servers");
    let hosts = [
        ("wild", &wild, "*.example.com"),
        ("exact", &exact, "a.example.com"),
        ("default", &other, "other.test"),
    ];
    let mut leaves = Vec::new();
    for (name, broker, host) in hosts {
        let deployment = world.deploy(name, broker.address, &[host]).await;
        let leaf = ca.server(&[host, "a.example.com", "b.example.com", "unheard.of"]);
        world.run(&deployment, &leaf, &[]).await;
        leaves.push(leaf);
    }
    let settings = Settings { default_deployment: Some(id("default")), ..settings() };
    let (_gateway, address, shutdown) = unfilled(&world, settings).await;
    let device = Device::trusting(&ca);
    // In any order: an indexed wildcard does not precede an exact name.
    for (name, leaf) in [
        ("b.example.com", 0),
        ("a.example.com", 1),
        ("b.example.com", 0),
        ("other.test", 2),
        ("unheard.of", 2),
    ] {
        let connection = device.talk(address, name).await.unwrap();
        assert_eq!(connection.leaf(), leaves[leaf].der, "{name}");
    }
    // Still followed and proven.
    let renewed = ca.server(&["a.example.com"]);
    world.put(&id("exact"), &renewed, &[]).await;
    assert_eq!(world.settled(&id("exact")).await, "running", "by both nodes");
    let newcomer = Device::trusting(&ca);
    assert_eq!(newcomer.talk(address, "a.example.com").await.unwrap().leaf(), renewed.der);
    shutdown.cancel();
    world.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_invented_names_keeps_no_device_out() {
    let world = World::new().await;
    let broker = Broker::echo().await;
    let ca = Authority::new("servers");
    let deployment = world.deploy("a", broker.address, &["a.example.com"]).await;
    world.run(&deployment, &ca.server(&["a.example.com"]), &[]).await;
    let (_gateway, address, shutdown) = unfilled(&world, settings()).await;
    let device = Device::trusting(&ca);
    let mut flood = JoinSet::new();
    for task in 0..20 {
        let device = device.clone();
        flood.spawn(async move {
            let mut refused = 0;
            for number in 0..20 {
                let name = format!("invented-{task}-{number}.example.com");
                refused += u32::from(device.connect(address, &name).await.is_err());
            }
            refused
        });
    }
    for _ in 0..10 {
        device.talk(address, "a.example.com").await.unwrap();
    }
    assert_eq!(flood.join_all().await, [20; 20]);
    shutdown.cancel();
    world.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_replica_stands_in_for_a_store_that_goes_away_during_the_warm_up() {
    let world = World::keeping(settings()).await;
    let (ca, broker) = (Authority::new("servers"), Broker::echo().await);
    for (name, host) in [("exact", "a.example.com"), ("wild", "*.example.org"), ("default", "other.test")] {
        let deployment = world.deploy(name, broker.address, &[host]).await;
        world.run(&deployment, &ca.server(&[host, "unheard.of"]), &[]).await;
    }
    let folder = world.snapshot().await;
    // Changed and unreadable: it may own any name.
    world.deploy("newer", broker.address, &["unheard.of"]).await;
    world.sql("ALTER TABLE host RENAME TO host_away").await;
    let snapshot = Replica::at(folder.path(), &master_key());
    assert!(snapshot.open().await.unwrap());
    let settings = Settings { default_deployment: Some(id("default")), ..settings() };
    let (gateway, address, shutdown) = unfilled_with(&world, settings, Some(snapshot)).await;
    world.lifecycle.store().close().await;
    let device = Device::trusting(&ca);
    for name in ["a.example.com", "b.example.org", "other.test"] {
        device.talk(address, name).await.unwrap();
    }
    // A deployment outside the replica owns it: no other answers.
    assert!(device.connect(address, "unheard.of").await.is_err());
    assert!(ready(&gateway));
    shutdown.cancel();
    world.shut_down().await;
}
