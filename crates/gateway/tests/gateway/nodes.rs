//! Several nodes on one store, and a node that restarts.

use std::sync::Arc;

use certward_gateway::Unbound;
use certward_lifecycle::SystemEntropy;
use certward_store::{NodeId, SystemClock};

use crate::stage::{
    Authority, Broker, Device, RunningNode, TLS12, TLS13, World, eventually, ready, settings,
};

async fn another(world: &World, node: &str) -> RunningNode {
    let node = NodeId::parse(node).unwrap();
    let mut metrics = prometheus_client::registry::Registry::default();
    let entropy = Arc::new(SystemEntropy);
    let gateway = Unbound::new(settings(), node, Arc::new(SystemClock), entropy, None, &mut metrics).unwrap();
    let bound = gateway.bind(|_| None).unwrap();
    let node = RunningNode::start(bound, world.lifecycle.clone());
    eventually("the other gateway is ready", || async { ready(&node.gateway) }).await;
    node
}

#[tokio::test]
async fn a_change_runs_when_every_node_has_proven_it_and_a_ticket_of_one_resumes_on_another() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let clients = Authority::new("clients");
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;
    world.run(&deployment, &ca.server(&["d.test"]), &[]).await;
    let RunningNode { addresses, shutdown, running, .. } = another(&world, "node-2").await;
    let address = addresses[0];
    let leaf = ca.server(&["d.test"]);
    world.run(&deployment, &leaf, &[&clients]).await;
    for version in [TLS12, TLS13] {
        let device = Device::new(&ca, Some(&clients.client("device")), &[version]);
        let first = device.talk(world.mqtts(), "d.test").await.unwrap();
        let second = device.talk(address, "d.test").await.unwrap();
        assert_eq!((first.leaf(), second.leaf()), (leaf.der.clone(), leaf.der.clone()));
        assert!(!first.resumed() && second.resumed());
    }
    // A node that left is not waited for.
    shutdown.cancel();
    running.await.unwrap();
    world.run(&deployment, &ca.server(&["d.test"]), &[]).await;
    world.shut_down().await;
}

#[tokio::test]
async fn a_node_that_starts_serves_and_proves_what_was_there_before() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;
    let deleted = world.deploy("deleted", broker.address, &["deleted.test"]).await;
    world.run(&deployment, &ca.server(&["d.test"]), &[]).await;
    world.run(&deleted, &ca.server(&["deleted.test"]), &[]).await;
    world.delete_tls(&deleted).await;
    assert_eq!(world.settled(&deleted).await, "absent");
    let RunningNode { addresses, shutdown, running, .. } = another(&world, "node-2").await;
    let address = addresses[0];
    Device::trusting(&ca).talk(address, "d.test").await.unwrap();
    assert!(Device::trusting(&ca).connect(address, "deleted.test").await.is_err());
    assert_eq!(world.settled(&deployment).await, "running");
    shutdown.cancel();
    running.await.unwrap();
    world.shut_down().await;
}

const DAMAGE: [&str; 2] = [
    "CREATE TABLE kept AS SELECT deployment, version, sealed_key FROM version",
    "UPDATE version SET sealed_key = x'00' WHERE version = (SELECT max(version) FROM version)",
];
const REPAIR: &str = "UPDATE version SET sealed_key = (SELECT kept.sealed_key FROM kept
     WHERE kept.deployment = version.deployment AND kept.version = version.version)";

#[tokio::test]
async fn a_node_that_cannot_open_what_runs_says_so_before_it_serves_the_version_before() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;
    let (before, newest) = (ca.server(&["d.test"]), ca.server(&["d.test"]));
    for leaf in [&before, &newest] {
        world.run(&deployment, leaf, &[]).await;
    }
    for statement in DAMAGE {
        world.sql(statement).await;
    }
    let RunningNode { addresses, shutdown, running, .. } = another(&world, "node-2").await;
    let address = addresses[0];
    // A resumed handshake has no certificate.
    let shows = async |address| {
        Device::trusting(&ca).talk(address, "d.test").await.ok().map(|session| session.leaf())
    };
    eventually("the version before is served", || async {
        let Some(leaf) = shows(address).await else { return false };
        let status = world.status(&deployment).await;
        assert!(leaf == before.der && status.starts_with("failed: "), "{status}");
        true
    })
    .await;
    // It has it in memory.
    assert_eq!(shows(world.mqtts()).await.as_ref(), Some(&newest.der));

    world.sql(REPAIR).await;
    eventually("it runs after all", || async { world.status(&deployment).await == "running" }).await;
    assert_eq!(shows(address).await, Some(newest.der));
    shutdown.cancel();
    running.await.unwrap();
    world.shut_down().await;
}

#[tokio::test]
async fn a_node_whose_database_goes_on_from_a_backup_drops_what_that_has_never_had() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;
    let (kept, lost) = (ca.server(&["d.test"]), ca.server(&["d.test"]));
    world.run(&deployment, &kept, &[]).await;
    let shows = async || {
        let session = Device::trusting(&ca).talk(world.mqtts(), "d.test").await;
        session.ok().map(|session| session.leaf())
    };
    for statement in BACK_UP {
        world.sql(statement).await;
    }
    world.run(&deployment, &lost, &[]).await;
    assert_eq!(shows().await.as_ref(), Some(&lost.der));
    world.sql(RESTORE).await;
    // The lost change's generation is drawn again, by another kind of change.
    let name = Some("after the backup".to_owned());
    let change = certward_store::DeploymentPatch { name, ..Default::default() };
    world.change(&deployment, change).await;
    eventually("what the database has is served", || async { shows().await.as_ref() == Some(&kept.der) })
        .await;
    let newest = ca.server(&["d.test"]);
    world.run(&deployment, &newest, &[]).await;
    assert_eq!(shows().await, Some(newest.der.clone()), "it counts, and proves again");
    world.shut_down().await;
}

const BACK_UP: [&str; 4] = [
    "CREATE TABLE backup_feed AS SELECT * FROM feed",
    "CREATE TABLE backup_deployment AS SELECT * FROM deployment",
    "CREATE TABLE backup_version AS SELECT * FROM version",
    "CREATE TABLE backup_counter AS SELECT * FROM counter",
];
const RESTORE: &str = "BEGIN IMMEDIATE; PRAGMA defer_foreign_keys = ON;
     DELETE FROM feed; INSERT INTO feed SELECT * FROM backup_feed;
     DELETE FROM counter; INSERT INTO counter SELECT * FROM backup_counter;
     DELETE FROM version; INSERT INTO version SELECT * FROM backup_version;
     UPDATE deployment SET (generation, tls_state, tls_version, tls_deadline, tls_reason) =
         (SELECT generation, tls_state, tls_version, tls_deadline, tls_reason FROM backup_deployment b
          WHERE b.id = deployment.id);
     COMMIT;";
