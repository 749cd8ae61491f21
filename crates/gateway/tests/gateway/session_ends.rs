//! Sessions that end in time, or at the rate of a change.

use std::time::{Duration, Instant};

use certward_gateway::{ExpiredSessions, Settings};
use certward_store::{CloseRate, DeploymentId, DeploymentPatch, SessionAge};

use crate::stage::{
    Authority, Broker, Connection, Device, Leaf, TLS12, TLS13, World, eventually, from_now, settings,
};

const HOST: &str = "d.test";
const HOUR: Duration = Duration::from_secs(3600);

/// A two-way deployment, and two client CAs that it trusts.
struct Fleet {
    world: World,
    deployment: DeploymentId,
    servers: Authority,
    leaf: Leaf,
    first: Authority,
    second: Authority,
    _broker: Broker,
}

impl Fleet {
    async fn new() -> Self {
        Self::with(settings()).await
    }

    async fn with(settings: Settings) -> Self {
        let (world, servers, broker) =
            (World::with(settings).await, Authority::new("servers"), Broker::echo().await);
        let (first, second) = (Authority::new("first"), Authority::new("second"));
        let deployment = world.deploy("d", broker.address, &[HOST]).await;
        let leaf = servers.server(&[HOST]);
        world.run(&deployment, &leaf, &[&first, &second]).await;
        Self { world, deployment, servers, leaf, first, second, _broker: broker }
    }

    fn device(&self, ca: &Authority) -> Device {
        Device::new(&self.servers, Some(&ca.client("device")), &[TLS13, TLS12])
    }

    async fn sessions(&self, ca: &Authority, count: usize) -> Vec<Connection> {
        talk(&self.world, &self.device(ca), HOST, count).await
    }

    fn closed(&self, reason: &str) -> u64 {
        closed(&self.world, reason)
    }
}

async fn talk(world: &World, device: &Device, host: &str, count: usize) -> Vec<Connection> {
    let mut sessions = Vec::new();
    for _ in 0..count {
        sessions.push(device.talk(world.mqtts(), host).await.unwrap());
    }
    sessions
}

fn closed(world: &World, reason: &str) -> u64 {
    world.metric(&format!(r#"certward_gateway_closed_total{{reason="{reason}"}}"#))
}

fn rate(per_second: i64) -> Option<CloseRate> {
    CloseRate::parse(per_second).unwrap()
}

/// Of so many sessions at so many a second; the gateway looks each tenth of a second.
fn at_least(sessions: u32, per_second: u32) -> Duration {
    Duration::from_secs(1) * (sessions - 1) / per_second - Duration::from_millis(200)
}

#[tokio::test]
async fn a_removed_ca_ends_its_sessions_at_the_rate_and_refuses_new_ones_at_once() {
    let fleet = Fleet::new().await;
    let Fleet { world, deployment, leaf, first, second, .. } = &fleet;
    let mut of_first = fleet.sessions(first, 13).await;
    let mut of_second = fleet.sessions(second, 3).await;
    let began = Instant::now();
    world.put_at(deployment, leaf, &[second], rate(4)).await;
    assert_eq!(world.settled(deployment).await, "running", "it is proven while sessions end");
    assert!(fleet.device(first).talk(world.mqtts(), HOST).await.is_err());
    of_first[12].echo(b"until its turn").await.unwrap();
    assert!(fleet.closed("untrusted") < 13);
    for session in &mut of_first {
        session.ends_cleanly().await;
    }
    assert!(began.elapsed() >= at_least(13, 4), "{:?}", began.elapsed());
    for session in &mut of_second {
        session.echo(b"still trusted").await.unwrap();
    }
    assert_eq!((fleet.closed("untrusted"), world.connections(deployment)), (13, 3));
    fleet.world.shut_down().await;
}

#[tokio::test]
async fn a_session_that_is_trusted_again_before_its_turn_stays() {
    let fleet = Fleet::new().await;
    let Fleet { world, deployment, leaf, first, second, .. } = &fleet;
    for again_at in [None, rate(2)] {
        let before = fleet.closed("untrusted");
        let mut of_first = fleet.sessions(first, 20).await;
        world.put_at(deployment, leaf, &[second], rate(1)).await;
        eventually("one has ended", || async { fleet.closed("untrusted") > before }).await;
        world.put_at(deployment, leaf, &[first, second], again_at).await;
        assert_eq!(world.settled(deployment).await, "running");
        eventually("none waits", || async {
            world.metric(r#"certward_gateway_entries{table="closing_sessions"}"#) == 0
        })
        .await;
        let ended = usize::try_from(fleet.closed("untrusted") - before).unwrap();
        assert!(ended < 20, "{ended}");
        for session in &mut of_first[ended..] {
            session.echo(b"trusted again").await.unwrap();
        }
    }
    fleet.world.shut_down().await;
}

#[tokio::test]
async fn a_later_change_without_a_rate_ends_the_rest_at_once_but_other_settings_leave_the_rate() {
    let fleet = Fleet::new().await;
    let Fleet { world, deployment, leaf, first, second, .. } = &fleet;
    let mut of_first = fleet.sessions(first, 40).await;
    world.put_at(deployment, leaf, &[second], rate(1)).await;
    eventually("one has ended", || async { fleet.closed("untrusted") > 0 }).await;
    let name = DeploymentPatch { name: Some("renamed".to_owned()), ..DeploymentPatch::default() };
    world.change(deployment, name).await;
    assert_eq!(world.settled(deployment).await, "running");
    of_first[39].echo(b"until its turn").await.unwrap();
    // 40 seconds at the rate, which no wait here lasts.
    world.put(deployment, &fleet.servers.server(&[HOST]), &[second]).await;
    eventually("all have ended", || async { fleet.closed("untrusted") == 40 }).await;
    for session in &mut of_first {
        session.ends_cleanly().await;
    }
    fleet.world.shut_down().await;
}

#[tokio::test]
async fn a_deletion_is_over_with_the_last_session_that_ends_at_its_rate() {
    let (world, servers, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let deployment = world.deploy("d", broker.address, &[HOST]).await;
    let leaf = servers.server(&[HOST]);
    world.run(&deployment, &leaf, &[]).await;
    let device = Device::trusting(&servers);
    let mut sessions = talk(&world, &device, HOST, 9).await;
    let began = Instant::now();
    world.delete_tls_at(&deployment, rate(4)).await;
    eventually("none is let in", || async { device.talk(world.mqtts(), HOST).await.is_err() }).await;
    sessions[8].echo(b"until its turn").await.unwrap();
    assert_eq!(world.status(&deployment).await, "terminated");
    assert_eq!(world.settled(&deployment).await, "absent");
    assert!(began.elapsed() >= at_least(9, 4), "{:?}", began.elapsed());
    assert_eq!((closed(&world, "deleted"), world.connections(&deployment)), (9, 0));
    for session in &mut sessions {
        session.ends_cleanly().await;
    }
    world.shut_down().await;
}

#[tokio::test]
async fn a_certificate_that_is_set_while_sessions_of_a_deleted_one_end_keeps_the_rest() {
    let (world, servers, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let deployment = world.deploy("d", broker.address, &[HOST]).await;
    let leaf = servers.server(&[HOST]);
    world.run(&deployment, &leaf, &[]).await;
    let mut sessions = talk(&world, &Device::trusting(&servers), HOST, 20).await;
    world.delete_tls_at(&deployment, rate(1)).await;
    eventually("one has ended", || async { closed(&world, "deleted") > 0 }).await;
    world.run(&deployment, &leaf, &[]).await;
    let ended = usize::try_from(closed(&world, "deleted")).unwrap();
    for session in &mut sessions[ended..] {
        session.echo(b"trusted again").await.unwrap();
    }
    world.shut_down().await;
}

#[tokio::test]
async fn deletions_at_a_rate_hold_up_no_other_deployment() {
    let (world, servers, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let device = Device::trusting(&servers);
    let mut sessions = Vec::new();
    let mut deployments = Vec::new();
    // More than are proven, or retried, at once.
    for name in (0..20).map(|n| format!("d{n}")) {
        let host = format!("{name}.test");
        let deployment = world.deploy(&name, broker.address, &[&host]).await;
        world.run(&deployment, &servers.server(&[&host]), &[]).await;
        sessions.extend(talk(&world, &device, &host, 12).await);
        deployments.push(deployment);
    }
    for deployment in &deployments {
        world.delete_tls_at(deployment, rate(1)).await;
    }
    let other = world.deploy("other", broker.address, &[HOST]).await;
    world.run(&other, &servers.server(&[HOST]), &[]).await;
    assert_eq!(world.status(&deployments[19]).await, "terminated");
    // They end with the node.
    world.shut_down().await;
    for session in &mut sessions {
        session.ends_cleanly().await;
    }
}

#[tokio::test]
async fn a_session_ends_at_the_age_that_its_deployment_allows() {
    let (world, servers, broker) = (World::new().await, Authority::new("servers"), Broker::echo().await);
    let device = Device::trusting(&servers);
    let mut deployments = Vec::new();
    for name in ["aged", "endless"] {
        let host = format!("{name}.test");
        let deployment = world.deploy(name, broker.address, &[&host]).await;
        world.run(&deployment, &servers.server(&[&host]), &[]).await;
        deployments.push(deployment);
    }
    let mut aged = talk(&world, &device, "aged.test", 5).await;
    let mut endless = talk(&world, &device, "endless.test", 2).await;
    let age = SessionAge::parse(10).unwrap();
    world
        .change(&deployments[0], DeploymentPatch { max_session_age: Some(age), ..DeploymentPatch::default() })
        .await;
    assert_eq!(world.settled(&deployments[0]).await, "running");
    aged[0].echo(b"young").await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut later = device.talk(world.mqtts(), "aged.test").await.unwrap();
    eventually("all have ended", || async { closed(&world, "session_age") == 5 }).await;
    for session in &mut aged {
        session.ends_cleanly().await;
    }
    later.echo(b"younger").await.unwrap();
    eventually("it has ended too", || async { closed(&world, "session_age") == 6 }).await;
    endless[1].echo(b"no limit").await.unwrap();
    assert_eq!(closed(&world, "upstream_broken"), 0);
    world.shut_down().await;
}

#[tokio::test]
async fn a_session_whose_certificate_has_ended_goes_on_or_ends_as_the_node_is_set() {
    for expired_sessions in [ExpiredSessions::Close, ExpiredSessions::Keep] {
        let fleet = Fleet::with(Settings { expired_sessions, ..settings() }).await;
        let Fleet { world, deployment, servers, leaf, first, .. } = &fleet;
        let device = |name: &str, valid: Duration| {
            let leaf = first.client_with(name, |params| params.not_after = from_now(valid));
            Device::new(servers, Some(&leaf), &[TLS13, TLS12])
        };
        let mut short = device("short", HOUR).talk(world.mqtts(), HOST).await.unwrap();
        let mut long = device("long", HOUR * 24).talk(world.mqtts(), HOST).await.unwrap();
        world.clock.advance(HOUR * 2);
        match expired_sessions {
            ExpiredSessions::Close => {
                short.ends_cleanly().await;
                assert_eq!(fleet.closed("expired"), 1);
            }
            ExpiredSessions::Keep => {
                // Two looks would be taken in this time.
                tokio::time::sleep(Duration::from_millis(2_500)).await;
                short.echo(b"kept").await.unwrap();
                assert_eq!(fleet.closed("expired"), 0);
            }
        }
        assert!(device("short", HOUR).talk(world.mqtts(), HOST).await.is_err());
        long.echo(b"valid").await.unwrap();
        // One-way asks for no certificate.
        world.run(deployment, leaf, &[]).await;
        world.clock.advance(HOUR * 48);
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        long.echo(b"one-way").await.unwrap();
        fleet.world.shut_down().await;
    }
}
