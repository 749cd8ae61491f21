//! A node refuses only the deployment whose change it cannot read.

use std::{sync::Arc, time::Duration};

use certward_gateway::{NodeReplica, Settings, Unbound};
use certward_lifecycle::SystemEntropy;
use certward_store::{NodeId, Replica};

use crate::stage::{
    Authority, Broker, Device, RunningNode, TLS13, World, eventually, lifecycle_of, master_key, ready,
    settings,
};

/// Hides certificates, not their changes.
const HIDE: &str = "ALTER TABLE version RENAME TO version_away";
const SHOW: &str = "ALTER TABLE version_away RENAME TO version";

const HIDE_FEED: &str = "ALTER TABLE feed RENAME TO feed_away";
const SHOW_FEED: &str = "ALTER TABLE feed_away RENAME TO feed";

/// By another node.
const CHANGE: [&str; 2] = [
    "UPDATE counter SET value = value + 1 WHERE name = 'generation'",
    "INSERT INTO feed (generation, deployment, at) SELECT value, 'changed', 0 FROM counter WHERE name = 'generation'",
];

#[tokio::test]
async fn a_running_node_refuses_a_deployment_that_changed_and_cannot_be_read_until_it_can() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    for (name, host) in [("changed", "changed.test"), ("other", "other.test")] {
        let deployment = world.deploy(name, broker.address, &[host]).await;
        world.run(&deployment, &ca.server(&[host]), &[]).await;
    }
    let device = Device::trusting(&ca);
    let mut live = device.talk(world.mqtts(), "changed.test").await.unwrap();
    device.talk(world.mqtts(), "other.test").await.unwrap();

    for statement in [&[HIDE][..], &CHANGE].concat() {
        world.sql(statement).await;
    }
    eventually("it is refused", || async { device.talk(world.mqtts(), "changed.test").await.is_err() }).await;
    let refused = device.connect(world.mqtts(), "changed.test").await.err().expect("it stays refused");
    assert!(refused.to_string().contains("InternalError"), "{refused}");
    device.talk(world.mqtts(), "other.test").await.expect("nothing is known of this one");
    live.echo(b"nothing is known against it").await.unwrap();

    world.sql(SHOW).await;
    eventually("it is served again", || async { device.talk(world.mqtts(), "changed.test").await.is_ok() })
        .await;
    live.echo(b"undisturbed").await.unwrap();
    world.shut_down().await;
}

#[tokio::test]
async fn a_node_that_starts_serves_nothing_from_its_replica_that_the_feed_says_has_changed() {
    let world = World::keeping(settings()).await;
    let (ca, clients, broker) = (Authority::new("servers"), Authority::new("clients"), Broker::echo().await);
    let narrowed = world.deploy("narrowed", broker.address, &["narrowed.test"]).await;
    let other = world.deploy("other", broker.address, &["other.test"]).await;
    world.run(&narrowed, &ca.server(&["narrowed.test"]), &[]).await;
    world.run(&other, &ca.server(&["other.test"]), &[]).await;
    let folder = world.snapshot().await;
    let newest = ca.server(&["narrowed.test"]);
    world.run(&narrowed, &newest, &[&clients]).await;
    world.sql(HIDE).await;

    let snapshot = Replica::at(folder.path(), &master_key());
    assert!(snapshot.open().await.unwrap());
    let mark = snapshot.mark().await.unwrap();
    let mut metrics = prometheus_client::registry::Registry::default();
    let node = NodeId::parse("node-2").unwrap();
    let (entropy, replica) = (Arc::new(SystemEntropy), NodeReplica { replica: snapshot, mark });
    let gateway =
        Unbound::new(settings(), node, world.clock.clone(), entropy, Some(replica), &mut metrics).unwrap();
    let bound = gateway.bind(|_| None).unwrap();
    let lifecycle = lifecycle_of(bound.gateway(), world.lifecycle.store().clone());
    let RunningNode { gateway, addresses, shutdown, running } = RunningNode::start(bound, lifecycle);
    let address = addresses[0];
    eventually("the node is ready", || async { ready(&gateway) }).await;

    let anybody = Device::trusting(&ca);
    let known = Device::new(&ca, Some(&clients.client("device")), &[TLS13]);
    for _ in 0..3 {
        assert!(anybody.talk(address, "narrowed.test").await.is_err(), "it may be two-way by now");
        assert!(known.talk(address, "narrowed.test").await.is_err());
        anybody.talk(address, "other.test").await.expect("nothing of it has changed");
    }
    world.sql(SHOW).await;
    eventually("it is served again", || async { known.talk(address, "narrowed.test").await.is_ok() }).await;
    assert_eq!(known.talk(address, "narrowed.test").await.unwrap().leaf(), newest.der);
    assert!(anybody.talk(address, "narrowed.test").await.is_err());
    shutdown.cancel();
    running.await.unwrap();
    world.shut_down().await;
}

#[tokio::test]
async fn trust_that_is_older_than_the_operator_allows_admits_no_device_until_the_feed_is_read_again() {
    let hour = Duration::from_secs(3600);
    let world = World::with(Settings { stale_trust: Some(hour), ..settings() }).await;
    let (ca, clients, broker) = (Authority::new("servers"), Authority::new("clients"), Broker::echo().await);
    let two_way = world.deploy("two-way", broker.address, &["two-way.test"]).await;
    let one_way = world.deploy("one-way", broker.address, &["one-way.test"]).await;
    world.run(&two_way, &ca.server(&["two-way.test"]), &[&clients]).await;
    world.run(&one_way, &ca.server(&["one-way.test"]), &[]).await;
    let known = Device::new(&ca, Some(&clients.client("device")), &[TLS13]);
    let mut live = known.talk(world.mqtts(), "two-way.test").await.unwrap();
    world.sql(HIDE_FEED).await;
    // Up to a tenth less is allowed.
    world.clock.advance(hour * 8 / 10);
    known.talk(world.mqtts(), "two-way.test").await.expect("it is not too old yet");
    world.clock.advance(hour * 3 / 10);
    let refused = known.connect(world.mqtts(), "two-way.test").await.err().expect("it is too old");
    assert!(refused.to_string().contains("InternalError"), "{refused}");
    Device::trusting(&ca).talk(world.mqtts(), "one-way.test").await.expect("it trusts anybody anyway");
    live.echo(b"it was trusted when it came").await.unwrap();

    world.sql(SHOW_FEED).await;
    eventually("it is served again", || async { known.talk(world.mqtts(), "two-way.test").await.is_ok() })
        .await;
    live.echo(b"undisturbed").await.unwrap();
    world.shut_down().await;
}
