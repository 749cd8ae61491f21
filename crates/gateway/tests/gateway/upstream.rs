//! Reaching the broker.

use tokio::io::AsyncWriteExt;

use crate::stage::{Broker, CONNECT, Ca, Device, World, any, settings};

/// Connects, and expects a clean end counted under `reason`.
async fn expect_failure(world: &World, ca: &Ca, name: &str, reason: &str) {
    let mut connection = Device::trusting(ca).connect(world.mqtts(), name).await.unwrap();
    connection.0.write_all(CONNECT).await.unwrap();
    connection.ends_cleanly().await;
    let line = format!(r#"certward_gateway_upstream_failures_total{{reason="{reason}"}}"#);
    assert_eq!(world.metric(&line), 1, "{reason}");
}

#[tokio::test]
async fn a_broker_that_is_down_gives_a_clean_close_and_a_counted_reason() {
    let (world, ca) = (World::new().await, Ca::new("servers"));
    // A port that was free a moment ago and that nobody listens on.
    let down = std::net::TcpListener::bind(any()).unwrap().local_addr().unwrap();
    let deployment = world.deploy("d", down, &["d.test"]).await;
    world.run(&deployment, &ca.leaf(&["d.test"]), &[]).await;
    expect_failure(&world, &ca, "d.test", "refused").await;
    world.shut_down().await;
}

#[tokio::test]
async fn an_upstream_outside_the_allowed_networks_is_not_reached() {
    let mut settings = settings();
    settings.upstream_allow = Some(vec!["10.0.0.0/8".parse().unwrap()]);
    let (world, ca) = (World::with(settings).await, Ca::new("servers"));
    let broker = Broker::new(|_| async { panic!("the broker was reached") }).await;
    let deployment = world.deploy("d", broker.address, &["d.test"]).await;
    world.run(&deployment, &ca.leaf(&["d.test"]), &[]).await;
    expect_failure(&world, &ca, "d.test", "not_allowed").await;
    world.shut_down().await;
}

#[tokio::test]
async fn the_gateway_does_not_connect_to_itself() {
    let (world, ca) = (World::new().await, Ca::new("servers"));
    let deployment = world.deploy("d", world.wss(), &["d.test"]).await;
    world.run(&deployment, &ca.leaf(&["d.test"]), &[]).await;
    expect_failure(&world, &ca, "d.test", "own_listener").await;
    world.shut_down().await;
}
