//! A fault affects its own deployment only, and never widens trust.

use std::{net::SocketAddr, sync::Arc};

use certward_gateway::Settings;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use crate::stage::{Authority, Broker, Device, TLS13, World, any, eventually, settings};

const DAMAGE: &str = "CREATE TRIGGER damage AFTER INSERT ON version BEGIN \
     UPDATE version SET sealed_key = x'00' WHERE deployment = NEW.deployment AND version = NEW.version; END";
const NO_DAMAGE: &str = "DROP TRIGGER damage";

async fn failed_proofs(world: &World) -> bool {
    world.metric(r#"certward_gateway_proofs_total{result="failed"}"#) > 0
}

#[tokio::test]
async fn a_leaf_that_cannot_be_served_leaves_the_old_one_in_place() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;
    let old = ca.server(&["d.test"]);
    world.run(&deployment, &old, &[]).await;
    let device = Device::trusting(&ca);
    let mut live = device.talk(world.mqtts(), "d.test").await.unwrap();

    world.sql(DAMAGE).await;
    world.put(&deployment, &ca.server(&["d.test"]), &[]).await;
    eventually("the node notices", || failed_proofs(&world)).await;
    assert_eq!(Device::trusting(&ca).talk(world.mqtts(), "d.test").await.unwrap().leaf(), old.der);
    live.echo(b"undisturbed").await.unwrap();

    world.sql(NO_DAMAGE).await;
    let new = ca.server(&["d.test"]);
    world.run(&deployment, &new, &[]).await;
    assert_eq!(Device::trusting(&ca).talk(world.mqtts(), "d.test").await.unwrap().leaf(), new.der);
    live.echo(b"undisturbed").await.unwrap();
    world.shut_down().await;
}

/// Makes the newest key unreadable.
const HIDE: [&str; 2] = [
    "ALTER TABLE version RENAME TO stored_version",
    "CREATE VIEW version AS SELECT deployment, version, tls_type, chain, client_cas, trust_scope, common_name, not_after, findings, \
            created_at, proven, CASE version WHEN (SELECT max(version) FROM stored_version WHERE deployment = 'd') \
                                THEN json('no answer') ELSE sealed_key END AS sealed_key \
     FROM stored_version",
];
const SHOW: [&str; 2] = ["DROP VIEW version", "ALTER TABLE stored_version RENAME TO version"];

#[tokio::test]
async fn a_key_that_cannot_be_read_for_a_moment_brings_no_older_certificate_back() {
    let world = World::with(Settings { config_cache: 1, ..settings() }).await;
    let (ca, broker) = (Authority::new("servers"), Broker::echo().await);
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;
    let other = world.deploy("other", broker.address, &["other.test"]).await;
    let (old, new) = (ca.server(&["d.test"]), ca.server(&["d.test"]));
    world.run(&deployment, &old, &[]).await;
    world.run(&deployment, &new, &[]).await;
    // The cache has room for one.
    world.run(&other, &ca.server(&["other.test"]), &[]).await;

    for statement in HIDE {
        world.sql(statement).await;
    }
    let refused = Device::trusting(&ca).connect(world.mqtts(), "d.test").await.err().expect("it is refused");
    assert!(refused.to_string().contains("InternalError"), "{refused}");
    for statement in SHOW {
        world.sql(statement).await;
    }
    eventually("it is served again", || async {
        let connection = Device::trusting(&ca).talk(world.mqtts(), "d.test").await;
        connection.is_ok_and(|connection| {
            assert_eq!(connection.leaf(), new.der);
            true
        })
    })
    .await;
    world.shut_down().await;
}

#[tokio::test]
async fn narrower_trust_that_cannot_be_served_is_refused_alone() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let (kept, gone) = (Authority::new("kept"), Authority::new("gone"));
    let narrowed = world.deploy("narrowed", broker.address, &["narrowed.test"]).await;
    let other = world.deploy("other", broker.address, &["other.test"]).await;
    world.run(&narrowed, &ca.server(&["narrowed.test"]), &[&kept, &gone]).await;
    world.run(&other, &ca.server(&["other.test"]), &[]).await;
    let device =
        |client: &Authority| Device::new(&ca, Some(&client.client("device")), &[crate::stage::TLS13]);
    let mut stays = device(&kept).talk(world.mqtts(), "narrowed.test").await.unwrap();
    let mut ends = device(&gone).talk(world.mqtts(), "narrowed.test").await.unwrap();

    world.sql(DAMAGE).await;
    world.put(&narrowed, &ca.server(&["narrowed.test"]), &[&kept]).await;
    // Trust is known without the key: live connections are checked.
    ends.ends_cleanly().await;
    stays.echo(b"still trusted").await.unwrap();
    let refused = device(&kept).connect(world.mqtts(), "narrowed.test").await.err().unwrap();
    assert!(refused.to_string().contains("InternalError"), "{refused}");
    assert_eq!(world.failures(&narrowed)[0], "not_servable");
    Device::trusting(&ca).talk(world.mqtts(), "other.test").await.unwrap();

    world.sql(NO_DAMAGE).await;
    world.run(&narrowed, &ca.server(&["narrowed.test"]), &[&kept]).await;
    device(&kept).talk(world.mqtts(), "narrowed.test").await.unwrap();
    assert!(device(&gone).talk(world.mqtts(), "narrowed.test").await.is_err());
    world.shut_down().await;
}

#[tokio::test]
async fn a_lost_store_stops_no_handshake() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;
    world.run(&deployment, &ca.server(&["d.test"]), &[]).await;
    let mut live = Device::trusting(&ca).talk(world.mqtts(), "d.test").await.unwrap();
    world.lifecycle.store().close().await;
    for _ in 0..3 {
        Device::trusting(&ca).talk(world.mqtts(), "d.test").await.unwrap();
        live.echo(b"undisturbed").await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    world.shut_down().await;
}

/// Stops after the device's first bytes until notified.
async fn halting_line(to: SocketAddr) -> (SocketAddr, Arc<Notify>) {
    let listener = TcpListener::bind(any()).await.unwrap();
    let (address, go_on) = (listener.local_addr().unwrap(), Arc::<Notify>::default());
    let told = Arc::clone(&go_on);
    tokio::spawn(async move {
        let (device, _) = listener.accept().await.unwrap();
        let (mut from_device, mut to_device) = device.into_split();
        let (mut from_gateway, mut to_gateway) = TcpStream::connect(to).await.unwrap().into_split();
        tokio::spawn(async move { tokio::io::copy(&mut from_gateway, &mut to_device).await });
        let mut hello = vec![0; 4096];
        let length = from_device.read(&mut hello).await.unwrap();
        to_gateway.write_all(&hello[..length]).await.unwrap();
        told.notified().await;
        tokio::io::copy(&mut from_device, &mut to_gateway).await
    });
    (address, go_on)
}

#[tokio::test]
async fn a_handshake_that_takes_its_time_asks_the_store_nothing_more_unless_something_changed() {
    let world = World::with(Settings { config_cache: 1, ..settings() }).await;
    let (ca, clients, broker) = (Authority::new("servers"), Authority::new("clients"), Broker::echo().await);
    let slow = world.deploy("slow", broker.address, &["slow.test"]).await;
    let other = world.deploy("other", broker.address, &["other.test"]).await;
    world.run(&slow, &ca.server(&["slow.test"]), &[&clients]).await;
    world.run(&other, &ca.server(&["other.test"]), &[]).await;
    let device = Device::new(&ca, Some(&clients.client("device")), &[TLS13]);
    let loads = || world.metric(r#"certward_gateway_config_loads_total{result="ok"}"#);
    let begin = async || {
        let ((line, go_on), device) = (halting_line(world.mqtts()).await, device.clone());
        let before = loads();
        let talking = tokio::spawn(async move { device.talk(line, "slow.test").await });
        eventually("its hello is understood", || async { loads() > before }).await;
        (talking, go_on)
    };

    let (talking, go_on) = begin().await;
    world.run(&slow, &ca.server(&["slow.test"]), &[&Authority::new("others")]).await;
    go_on.notify_one();
    assert!(talking.await.unwrap().is_err(), "its CA was removed while it shook hands");

    world.run(&slow, &ca.server(&["slow.test"]), &[&clients]).await;
    Device::trusting(&ca).talk(world.mqtts(), "other.test").await.unwrap();
    let (talking, go_on) = begin().await;
    Device::trusting(&ca).talk(world.mqtts(), "other.test").await.unwrap();
    world.lifecycle.store().close().await;
    go_on.notify_one();
    talking.await.unwrap().expect("nothing changed, though it is not at hand any more and the store is away");
    world.shut_down().await;
}
