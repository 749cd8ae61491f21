//! A deployment's limits: concurrent and new connections.

use std::io;

use certward_store::{ConnectionLimit, DeploymentId, DeploymentPatch};
use futures_util::future::join_all;

use crate::stage::{Authority, Broker, CONNECT, Connection, Device, World, eventually};

/// 0: no limit.
async fn limited(
    world: &World,
    ca: &Authority,
    broker: &Broker,
    at_once: i64,
    per_second: i64,
) -> DeploymentId {
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;
    limit(world, &deployment, at_once, per_second).await;
    world.run(&deployment, &ca.server(&["d.test"]), &[]).await;
    deployment
}

async fn limit(world: &World, deployment: &DeploymentId, at_once: i64, per_second: i64) {
    let change = DeploymentPatch {
        connections_at_once: Some(ConnectionLimit::parse(at_once).unwrap()),
        connections_per_second: Some(ConnectionLimit::parse(per_second).unwrap()),
        ..DeploymentPatch::default()
    };
    world.change(deployment, change).await;
}

fn is_denied(result: &io::Result<Connection>) -> bool {
    result.as_ref().err().is_some_and(|error| error.to_string().contains("AccessDenied"))
}

#[tokio::test]
async fn a_full_deployment_refuses_the_next_device_and_says_why() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let deployment = limited(&world, &ca, &broker, 2, 0).await;
    let other = world.deploy("other", broker.address, &["other.test"]).await;
    world.run(&other, &ca.server(&["other.test"]), &[]).await;
    let device = Device::trusting(&ca);

    let first = device.talk(world.mqtts(), "d.test").await.unwrap();
    let mut second = device.talk(world.mqtts(), "d.test").await.unwrap();
    assert!(is_denied(&device.connect(world.mqtts(), "d.test").await));
    assert_eq!(world.failures(&deployment), ["deployment_connections_max"]);
    let line = r#"certward_gateway_handshake_failures_total{cause="deployment_connections_max"}"#;
    assert_eq!(world.metric(line), 1);
    device.talk(world.mqtts(), "other.test").await.expect("another deployment's devices do not notice");

    drop(first);
    eventually("the place is free again", || async { device.talk(world.mqtts(), "d.test").await.is_ok() })
        .await;
    second.echo(b"still there").await.unwrap();
    world.shut_down().await;
}

#[tokio::test]
async fn of_forty_devices_at_once_exactly_ten_get_in() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let deployment = limited(&world, &ca, &broker, 10, 0).await;
    let device = Device::trusting(&ca);
    let devices = join_all((0..40).map(|_| device.talk(world.mqtts(), "d.test"))).await;
    assert_eq!(devices.iter().filter(|device| device.is_ok()).count(), 10);
    assert_eq!(devices.iter().filter(|device| is_denied(device)).count(), 30);
    assert_eq!(world.connections(&deployment), 10);
    world.shut_down().await;
}

#[tokio::test]
async fn a_changed_limit_holds_without_a_restart_and_drops_no_device() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let deployment = limited(&world, &ca, &broker, 0, 0).await;
    let device = Device::trusting(&ca);
    let mut live = Vec::new();
    for _ in 0..3 {
        live.push(device.talk(world.mqtts(), "d.test").await.unwrap());
    }
    limit(&world, &deployment, 1, 0).await;
    eventually("the limit holds", || async { is_denied(&device.connect(world.mqtts(), "d.test").await) })
        .await;
    for connection in &mut live {
        connection.echo(CONNECT).await.unwrap();
    }
    limit(&world, &deployment, 4, 0).await;
    eventually("there is room again", || async { device.talk(world.mqtts(), "d.test").await.is_ok() }).await;
    world.shut_down().await;
}

#[tokio::test]
async fn more_than_the_rate_is_refused_until_the_second_is_over() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let deployment = limited(&world, &ca, &broker, 0, 1).await;
    let device = Device::trusting(&ca);
    device.talk(world.mqtts(), "d.test").await.expect("the first one of a second gets in");
    eventually("one is refused", || async {
        join_all((0..4).map(|_| device.connect(world.mqtts(), "d.test"))).await.iter().any(is_denied)
    })
    .await;
    assert!(world.failures(&deployment).iter().all(|cause| *cause == "deployment_connection_rate"));
    let line = r#"certward_gateway_handshake_failures_total{cause="deployment_connection_rate"}"#;
    assert_eq!(world.metric(line), world.failures(&deployment).len() as u64);
    eventually("it gets in when it comes again", || async {
        device.talk(world.mqtts(), "d.test").await.is_ok()
    })
    .await;
    world.shut_down().await;
}

#[tokio::test]
async fn a_handshake_that_fails_gives_its_place_back() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let deployment = limited(&world, &ca, &broker, 1, 0).await;
    let stranger = Device::trusting(&Authority::new("others"));
    for _ in 0..3 {
        stranger.connect(world.mqtts(), "d.test").await.map(|_| ()).unwrap_err();
    }
    let device = Device::trusting(&ca);
    eventually("the only place is free", || async { device.talk(world.mqtts(), "d.test").await.is_ok() })
        .await;
    assert!(world.failures(&deployment).contains(&"client_unknown_ca"));
    world.shut_down().await;
}

#[tokio::test]
async fn the_nodes_own_proofs_need_no_place() {
    let (world, ca, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let deployment = limited(&world, &ca, &broker, 1, 1).await;
    let _only = Device::trusting(&ca).talk(world.mqtts(), "d.test").await.unwrap();
    world.run(&deployment, &ca.server(&["d.test"]), &[]).await;
    assert!(world.failures(&deployment).is_empty());
    world.shut_down().await;
}
