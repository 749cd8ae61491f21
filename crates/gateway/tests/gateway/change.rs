//! A change: swap, proof, `running`, deletion.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use certward_gateway::{Listener, Protocol};
use tokio::io::AsyncReadExt;

use crate::stage::{Authority, Broker, Device, World, any, eventually, id, settings};

#[tokio::test]
async fn proofs_reach_no_broker_and_no_list_of_failures() {
    let reached = Arc::new(AtomicUsize::new(0));
    let broker = {
        let reached = Arc::clone(&reached);
        Broker::new(move |_| {
            reached.fetch_add(1, Ordering::SeqCst);
            async {}
        })
        .await
    };
    let (world, ca) = (World::new().await, Authority::new("servers"));
    let deployment =
        world.deploy_with("d", broker.address, Some(broker.address), &["d.test", "*.d.test"]).await;
    world.run(&deployment, &ca.server(&["d.test", "*.d.test"]), &[]).await;
    world.run(&deployment, &ca.server(&["d.test", "*.d.test"]), &[&Authority::new("clients")]).await;
    assert_eq!(reached.load(Ordering::SeqCst), 0);
    assert_eq!(world.failures(&deployment), [""; 0]);
    assert!(world.metric(r#"certward_gateway_proofs_total{result="ok"}"#) >= 2);
    assert_eq!(world.metric(r#"certward_gateway_proofs_total{result="failed"}"#), 0);
    world.shut_down().await;
}

#[tokio::test]
async fn the_same_leaf_with_another_client_ca_is_proven_again() {
    let (world, servers, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let (first, second) = (Authority::new("same name"), Authority::new("same name"));
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;
    let leaf = servers.server(&["d.test"]);
    world.run(&deployment, &leaf, &[&first]).await;
    world.run(&deployment, &leaf, &[&second]).await;
    let old = Device::new(&servers, Some(&first.client("device")), &[crate::stage::TLS13]);
    let new = Device::new(&servers, Some(&second.client("device")), &[crate::stage::TLS13]);
    assert!(old.talk(world.mqtts(), "d.test").await.is_err());
    assert!(new.talk(world.mqtts(), "d.test").await.is_ok());
    world.shut_down().await;
}

#[tokio::test]
async fn a_deployment_without_an_entry_point_fails_at_once_and_runs_when_it_gets_one() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let deployment = world.deploy("d", broker.address, &[]).await;
    world.put(&deployment, &ca.server(&["d.test"]), &[]).await;
    let status = world.settled(&deployment).await;
    assert!(status.starts_with("failed: "), "{status}");
    let hosts = Some(vec![certward_pki::HostName::parse("d.test").unwrap()]);
    world.change(&deployment, certward_store::DeploymentPatch { hosts, ..Default::default() }).await;
    eventually("it runs", || async { world.settled(&deployment).await == "running" }).await;
    world.shut_down().await;
}

#[tokio::test]
async fn bound_listeners_and_the_default_are_proven_without_a_name() {
    let mut settings = settings();
    settings.listeners = vec![Listener::bound_to(id("bound"), any(), Protocol::Mqtts)];
    let (world, ca, broker) = (World::with(settings).await, Authority::new("servers"), Broker::echo().await);
    let bound = world.deploy("bound", broker.address, &[]).await;
    world.run(&bound, &ca.server(&["d.test"]), &[]).await;
    // It has a host; a listener is missing.
    let hosted = world.deploy("hosted", broker.address, &["hosted.test"]).await;
    world.put(&hosted, &ca.server(&["hosted.test"]), &[]).await;
    let status = world.settled(&hosted).await;
    assert!(status.contains("the node has no shared listener"), "{status}");
    assert!(status.contains("[[gateway.listener]]") && !status.contains("a host:"), "{status}");
    world.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_under_load_drop_no_connection_and_fail_no_handshake() {
    const SWAPS: usize = 15;
    let (world, ca, broker) = (Arc::new(World::new().await), Authority::new("servers"), Broker::echo().await);
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;
    world.run(&deployment, &ca.server(&["d.test"]), &[]).await;
    let device = Device::trusting(&ca);
    let over = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let mut connection = device.talk(world.mqtts(), "d.test").await.unwrap();
        let over = Arc::clone(&over);
        tasks.spawn(async move {
            while !over.load(Ordering::SeqCst) {
                connection.echo(b"ping").await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }
    for _ in 0..4 {
        // Half of the handshakes are full, half resumed.
        let (fresh, device, world) = (Device::trusting(&ca), device.clone(), Arc::clone(&world));
        let over = Arc::clone(&over);
        tasks.spawn(async move {
            while !over.load(Ordering::SeqCst) {
                fresh.talk(world.mqtts(), "d.test").await.unwrap();
                device.talk(world.mqtts(), "d.test").await.unwrap();
            }
        });
    }
    for _ in 0..SWAPS {
        let leaf = ca.server(&["d.test"]);
        world.run(&deployment, &leaf, &[]).await;
        let seen = Device::trusting(&ca).talk(world.mqtts(), "d.test").await.unwrap().leaf();
        assert_eq!(seen, leaf.der);
    }
    over.store(true, Ordering::SeqCst);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    Arc::into_inner(world).unwrap().shut_down().await;
}

#[tokio::test]
async fn a_deletion_closes_the_deployments_connections_and_no_other() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let deleted = world.deploy("deleted", broker.address, &["deleted.test"]).await;
    let kept = world.deploy("kept", broker.address, &["kept.test"]).await;
    world.run(&deleted, &ca.server(&["deleted.test"]), &[]).await;
    world.run(&kept, &ca.server(&["kept.test"]), &[]).await;
    let device = Device::trusting(&ca);
    let mut ends = device.talk(world.mqtts(), "deleted.test").await.unwrap();
    let mut stays = device.talk(world.mqtts(), "kept.test").await.unwrap();
    assert_eq!((world.connections(&deleted), world.connections(&kept)), (1, 1));

    world.delete_tls(&deleted).await;
    ends.ends_cleanly().await;
    assert_eq!(world.settled(&deleted).await, "absent");
    assert_eq!((world.connections(&deleted), world.connections(&kept)), (0, 1));
    stays.echo(b"still here").await.unwrap();
    let refused = device.connect(world.mqtts(), "deleted.test").await;
    assert!(refused.is_err_and(|error| error.to_string().contains("HandshakeFailure")));

    world.run(&deleted, &ca.server(&["deleted.test"]), &[]).await;
    device.talk(world.mqtts(), "deleted.test").await.unwrap();
    world.shut_down().await;
}

#[tokio::test]
async fn the_removal_of_a_deployment_closes_its_connections() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;
    world.run(&deployment, &ca.server(&["d.test"]), &[]).await;
    let device = Device::trusting(&ca);
    let mut connection = device.talk(world.mqtts(), "d.test").await.unwrap();
    world.remove(&deployment).await;
    connection.ends_cleanly().await;
    let refused = device.connect(world.mqtts(), "d.test").await;
    assert!(refused.is_err_and(|error| error.to_string().contains("UnrecognisedName")));
    world.shut_down().await;
}

#[tokio::test]
async fn new_hosts_and_upstreams_leave_live_connections_alone() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let other = Broker::named("other").await;
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;
    world.run(&deployment, &ca.server(&["d.test"]), &[]).await;
    let device = Device::trusting(&ca);
    let mut before = device.talk(world.mqtts(), "d.test").await.unwrap();
    let upstream = Some(certward_store::UpstreamList::parse(&other.address.to_string()).unwrap());
    world.change(&deployment, certward_store::DeploymentPatch { upstream, ..Default::default() }).await;
    eventually("the new broker is reached", || async {
        let mut connection = device.connect(world.mqtts(), "d.test").await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut connection.0, crate::stage::CONNECT).await.unwrap();
        let mut greeting = [0; 5];
        connection.0.read_exact(&mut greeting).await.unwrap();
        &greeting == b"other"
    })
    .await;
    before.echo(b"the old broker still echoes").await.unwrap();
    world.shut_down().await;
}

#[tokio::test]
async fn a_shutdown_closes_connections_cleanly() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;
    world.run(&deployment, &ca.server(&["d.test"]), &[]).await;
    let mut connection = Device::trusting(&ca).talk(world.mqtts(), "d.test").await.unwrap();
    let gateway = world.gateway.clone();
    let ends = tokio::spawn(async move { connection.ends_cleanly().await });
    world.shut_down().await;
    assert!(!crate::stage::ready(&gateway));
    ends.await.unwrap();
}
