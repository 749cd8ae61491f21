//! Without the store the node serves from its replica, however long.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use certward_gateway::{NodeReplica, Settings, Unbound};
use certward_lifecycle::SystemEntropy;
use certward_store::{Address, NodeId, Replica, Servers, Store, SystemClock};
use sqlx::{Connection as _, Row as _};
use tokio_util::sync::CancellationToken;

use crate::{
    boundaries::{allow, suffixes},
    stage::{
        Authority, Broker, Device, RunningNode, ShiftedClock, TLS12, TLS13, World, eventually, id,
        lifecycle_of, master_key, ready, settings,
    },
};

const HOUR: Duration = Duration::from_secs(3600);

/// Starts from a replica alone.
struct Alone {
    address: SocketAddr,
    clock: Arc<ShiftedClock>,
    shutdown: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl Alone {
    async fn with(folder: &Path) -> Self {
        Self::having(folder, settings()).await
    }

    async fn having(folder: &Path, settings: Settings) -> Self {
        let snapshot = Replica::at(folder, &master_key());
        assert!(snapshot.open().await.unwrap());
        let mark = snapshot.mark().await.unwrap();
        assert!(mark.is_some());
        let (clock, mut metrics) =
            (Arc::<ShiftedClock>::default(), prometheus_client::registry::Registry::default());
        let node = NodeId::parse("node-2").unwrap();
        let (entropy, replica) = (Arc::new(SystemEntropy), NodeReplica { replica: snapshot, mark });
        let gateway =
            Unbound::new(settings, node, clock.clone(), entropy, Some(replica), &mut metrics).unwrap();
        let bound = gateway.bind(|_| None).unwrap();
        let nowhere = Address::Postgres(Servers::parse(["postgres://127.0.0.1:1/nowhere"]).expect("a URL"));
        let store = Store::away(nowhere, &master_key(), Arc::new(SystemClock));
        let lifecycle = lifecycle_of(bound.gateway(), store);
        let RunningNode { gateway, addresses, shutdown, running } = RunningNode::start(bound, lifecycle);
        eventually("the node is ready", || async { ready(&gateway) }).await;
        Self { address: addresses[0], clock, shutdown, running }
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.running.await.unwrap();
    }
}

async fn ticket_keys(folder: &Path) -> usize {
    let url = format!("sqlite://{}", Replica::file_in(folder).display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let query = sqlx::query("SELECT count(*) FROM secret WHERE name LIKE '%tickets%'");
    let count: i64 = query.fetch_one(&mut connection).await.unwrap().get(0);
    connection.close().await.unwrap();
    usize::try_from(count).unwrap()
}

#[tokio::test]
async fn what_fell_out_of_the_cache_is_served_from_the_snapshot() {
    let world = World::keeping(Settings { config_cache: 1, ..settings() }).await;
    let (ca, clients, broker) = (Authority::new("servers"), Authority::new("clients"), Broker::echo().await);
    let names = ["a.test", "b.test", "c.test"];
    let mut leaves = Vec::new();
    for name in names {
        let deployment = world.deploy(&name[..1], broker.address, &[name]).await;
        let leaf = ca.server(&[name]);
        world.run(&deployment, &leaf, &[&clients]).await;
        leaves.push(leaf);
    }
    world.lifecycle.store().close().await;
    let device = Device::new(&ca, Some(&clients.client("device")), &[TLS13]);
    for _ in 0..3 {
        for (name, leaf) in names.iter().zip(&leaves) {
            let connection = device.talk(world.mqtts(), name).await.unwrap();
            assert_eq!(connection.leaf(), leaf.der);
            assert!(Device::trusting(&ca).talk(world.mqtts(), name).await.is_err(), "two-way it stays");
        }
    }
    world.shut_down().await;
}

#[tokio::test]
async fn alone_a_node_serves_for_days_and_devices_resume_as_long_as_the_ticket_keys_last() {
    let world = World::keeping(settings()).await;
    let (ca, broker) = (Authority::new("servers"), Broker::echo().await);
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;
    let leaf = ca.server(&["d.test"]);
    world.run(&deployment, &leaf, &[]).await;
    let devices = [TLS12, TLS13].map(|version| Device::new(&ca, None, &[version]).with_one_drawer());
    for device in &devices {
        assert!(!device.talk(world.mqtts(), "d.test").await.unwrap().resumed());
    }
    let folder = world.snapshot().await;
    assert_eq!(ticket_keys(folder.path()).await, 2, "that of now and the next one");
    let alone = Alone::with(folder.path()).await;
    // Two periods of six hours have a key; tickets of the second open for two more. What is left of
    // the first is unknown.
    for (hours, resumes) in [(0, true), (6, true), (6, true), (12, false), (24, false), (24 * 30, false)] {
        alone.clock.advance(HOUR * hours);
        for device in &devices {
            let connection = device.talk(alone.address, "d.test").await.unwrap();
            assert_eq!(
                (connection.leaf(), connection.resumed()),
                (leaf.der.clone(), resumes),
                "{hours} h later"
            );
        }
    }
    eventually("old session ticket keys are gone from the disk", || async {
        ticket_keys(folder.path()).await == 0
    })
    .await;
    alone.end().await;
    world.shut_down().await;
}

#[tokio::test]
async fn a_snapshot_of_yesterday_serves_what_the_node_last_acknowledged() {
    let world = World::keeping(settings()).await;
    let (ca, clients, broker) = (Authority::new("servers"), Authority::new("clients"), Broker::echo().await);
    let narrowed = world.deploy("narrowed", broker.address, &["narrowed.test"]).await;
    let deleted = world.deploy("deleted", broker.address, &["deleted.test"]).await;
    let removed = world.deploy("removed", broker.address, &["removed.test"]).await;
    for (id, name) in [(&narrowed, "narrowed.test"), (&deleted, "deleted.test"), (&removed, "removed.test")] {
        world.run(id, &ca.server(&[name]), &[]).await;
    }
    world.run(&narrowed, &ca.server(&["narrowed.test"]), &[&clients]).await;
    world.delete_tls(&deleted).await;
    assert_eq!(world.settled(&deleted).await, "absent");
    // Reported changes are in the replica; a removal is not reported and is copied later.
    let at_once = world.snapshot().await;
    world.remove(&removed).await;
    let alone = Alone::with(at_once.path()).await;
    assert!(Device::trusting(&ca).talk(alone.address, "narrowed.test").await.is_err());
    let known = Device::new(&ca, Some(&clients.client("device")), &[TLS13]);
    known.talk(alone.address, "narrowed.test").await.unwrap();
    assert!(Device::trusting(&ca).connect(alone.address, "deleted.test").await.is_err());
    alone.end().await;
    eventually("the removal is copied", || async {
        let later = world.snapshot().await;
        let snapshot = Replica::at(later.path(), &master_key());
        assert!(snapshot.open().await.unwrap());
        let there = snapshot.generations(None, None).await.unwrap().contains_key(&removed);
        snapshot.close().await;
        !there
    })
    .await;
    world.shut_down().await;
}

#[tokio::test]
async fn alone_a_node_holds_projects_to_their_boundaries() {
    let settings = || Settings { default_deployment: Some(id("fallback")), ..settings() };
    let world = World::keeping(settings()).await;
    let (ca, broker) = (Authority::new("servers"), Broker::echo().await);
    let fallback = world.deploy("fallback", broker.address, &["own.test"]).await;
    world.run(&fallback, &ca.server(&["own.test", "x.fleet.test", "other.test"]), &[]).await;
    let device = Device::trusting(&ca);
    for (of, change) in [("fleet", suffixes(&["fleet.test"])), ("default", allow(&["10.0.0.0/8"]))] {
        let before = world.snapshot().await;
        let alone = Alone::having(before.path(), settings()).await;
        let name = if of == "fleet" { "x.fleet.test" } else { "own.test" };
        // Until the index is filled, a name that it lacks is asked of the store, which is away.
        eventually(name, || async { device.talk(alone.address, name).await.is_ok() }).await;
        alone.end().await;

        // Only the feed carries this change.
        world.change_project(of, change).await;
        let newest = world.lifecycle.store().read().newest_generation().await.unwrap();
        eventually("it is in the snapshot", || async {
            let copy = world.snapshot().await;
            let snapshot = Replica::at(copy.path(), &master_key());
            assert!(snapshot.open().await.unwrap());
            let is_there = snapshot.mark().await.unwrap() == Some(newest);
            snapshot.close().await;
            is_there
        })
        .await;
        let after = world.snapshot().await;
        let alone = Alone::having(after.path(), settings()).await;
        assert!(device.talk(alone.address, name).await.is_err(), "{name}");
        alone.end().await;
    }
    world.shut_down().await;
}
