//! Devices that CRLs revoke.

use std::time::Duration;

use certward_gateway::{ExpiredSessions, Settings};
use certward_lifecycle::SilentNodes;
use certward_pki::StalePolicy;
use certward_store::DeploymentPatch;
use certward_test_support::client_params;
use rcgen::{KeyPair, SerialNumber};
use time::OffsetDateTime;

use super::{Fleet, HOST};
use crate::stage::{Authority, Device, Leaf, TLS12, TLS13, World, eventually, from_now, settings};

const HOUR: Duration = Duration::from_secs(3600);

fn hour_ago() -> OffsetDateTime {
    from_now(Duration::ZERO) - HOUR
}

fn crl(ca: &Authority, number: u64, revoked: &[&Leaf]) -> Vec<u8> {
    crl_until(ca, number, revoked, 24 * HOUR)
}

fn crl_until(ca: &Authority, number: u64, revoked: &[&Leaf], end: Duration) -> Vec<u8> {
    ca.crl(number, revoked, hour_ago(), from_now(end))
}

#[tokio::test]
async fn a_crl_ends_the_sessions_that_it_revokes_and_no_other() {
    for version in [TLS12, TLS13] {
        let fleet = Fleet::of(version, false).await;
        let leaves: Vec<_> = (0..5).map(|n| fleet.clients.client(&format!("device-{n}"))).collect();
        let devices: Vec<_> = leaves.iter().map(|leaf| fleet.device(leaf)).collect();
        let mut sessions = Vec::new();
        for device in &devices {
            sessions.push(fleet.talk(device).await.unwrap());
        }
        fleet.set_crl("devices", crl(&fleet.clients, 1, &[&leaves[0]]), StalePolicy::Soft).await;
        sessions[0].ends_cleanly().await;
        // Another one, in its place.
        fleet.set_crl("devices", crl(&fleet.clients, 2, &[&leaves[1], &leaves[2]]), StalePolicy::Soft).await;
        sessions[1].ends_cleanly().await;
        sessions[2].ends_cleanly().await;
        assert_eq!(fleet.closed("revoked"), 3);
        for (n, device) in devices.iter().enumerate() {
            match n {
                1 | 2 => {
                    fleet.is_refused(device).await;
                    fleet.is_refused(&fleet.device(&leaves[n])).await;
                }
                _ => assert!(fleet.talk(device).await.unwrap().resumed(), "{n}"),
            }
        }
        sessions[3].echo(b"undisturbed").await.unwrap();
        sessions[4].echo(b"undisturbed").await.unwrap();
        fleet.remove_crl("devices").await;
        fleet.talk(&fleet.device(&leaves[1])).await.expect("it comes back");
        assert_eq!(fleet.world.status(&fleet.deployment).await, "running");
        fleet.world.shut_down().await;
    }
}

#[tokio::test]
async fn a_crl_is_about_what_its_signer_has_issued_and_no_other_ca_of_its_name() {
    let mut fleet = Fleet::new().await;
    fleet.trust(Authority::new("clients")).await;
    let of = |ca: &Authority| {
        let mut params = client_params("device");
        params.serial_number = Some(SerialNumber::from(7_u64));
        ca.issue(params, &KeyPair::generate().unwrap())
    };
    let (one, other) = (of(&fleet.clients), of(&fleet.others[0]));
    let mut ends = fleet.talk(&fleet.device(&one)).await.unwrap();
    let mut stays = fleet.talk(&fleet.device(&other)).await.unwrap();
    fleet.set_crl("devices", crl(&fleet.clients, 1, &[&one]), StalePolicy::Hard).await;
    ends.ends_cleanly().await;
    fleet.is_refused(&fleet.device(&one)).await;
    fleet.is_refused(&fleet.device(&one.twin())).await;
    stays.echo(b"undisturbed").await.unwrap();
    fleet.talk(&fleet.device(&other)).await.unwrap();
    fleet.world.shut_down().await;
}

#[tokio::test]
async fn an_intermediate_that_its_ca_revokes_leads_no_device_in() {
    for version in [TLS12, TLS13] {
        let fleet = Fleet::of(version, false).await;
        let (one, other) = (fleet.clients.intermediate("one"), fleet.clients.intermediate("other"));
        let leaves = [one.client("a"), one.client("b"), other.client("c"), fleet.clients.client("d")];
        let devices = leaves.each_ref().map(|leaf| fleet.device(leaf));
        let mut sessions = Vec::new();
        for device in &devices {
            sessions.push(fleet.talk(device).await.unwrap());
        }
        let intermediate = Leaf { der: one.der().to_vec(), ..leaves[0].clone() };
        fleet.set_crl("root", crl(&fleet.clients, 1, &[&intermediate]), StalePolicy::Soft).await;
        for session in &mut sessions[..2] {
            session.ends_cleanly().await;
        }
        for n in [0, 1] {
            fleet.is_refused(&devices[n]).await;
            fleet.is_refused(&fleet.device(&leaves[n])).await;
        }
        for n in [2, 3] {
            sessions[n].echo(b"undisturbed").await.unwrap();
            assert!(fleet.talk(&devices[n]).await.unwrap().resumed());
        }
        // What it revokes itself: with its certificate beside the CRL.
        let of_other = other.crl_and_issuer(1, &[&leaves[2]], hour_ago(), from_now(24 * HOUR));
        fleet.set_crl("other", of_other, StalePolicy::Soft).await;
        sessions[2].ends_cleanly().await;
        fleet.is_refused(&devices[2]).await;
        fleet.talk(&fleet.device(&other.client("e"))).await.unwrap();
        fleet.world.shut_down().await;
    }
}

#[tokio::test]
async fn a_stale_crl_refuses_its_issuers_devices_if_it_is_hard_and_no_other() {
    let mut fleet = Fleet::new().await;
    for name in ["soft", "none"] {
        fleet.trust(Authority::new(name)).await;
    }
    let Fleet { world, clients, others, .. } = &fleet;
    fleet.set_crl("hard", crl_until(clients, 1, &[], HOUR), StalePolicy::Hard).await;
    fleet.set_crl("soft", crl_until(&others[0], 1, &[], HOUR), StalePolicy::Soft).await;
    let cas = [clients, &others[0], &others[1]];
    let devices: Vec<Device> = cas.map(|ca| fleet.device(&ca.client("device"))).into();
    let mut sessions = Vec::new();
    for device in &devices {
        sessions.push(fleet.talk(device).await.unwrap());
    }
    world.clock.advance(HOUR / 2);
    sessions[0].echo(b"it is current").await.unwrap();
    world.clock.advance(HOUR);
    fleet.is_refused_as(&devices[0], "UnknownCA", "revocation_unknown").await;
    fleet.is_refused_as(&fleet.device(&clients.client("another")), "UnknownCA", "revocation_unknown").await;
    sessions[0].ends_cleanly().await;
    assert_eq!(fleet.closed("revocation_unknown"), 1);
    for n in [1, 2] {
        sessions[n].echo(b"undisturbed").await.unwrap();
        assert!(fleet.talk(&devices[n]).await.unwrap().resumed());
    }
    fleet.set_crl("hard", crl(clients, 2, &[]), StalePolicy::Hard).await;
    fleet.talk(&devices[0]).await.expect("it comes back");
    fleet.world.shut_down().await;
}

#[tokio::test]
async fn a_kept_session_whose_certificate_has_ended_stays_until_a_crl_revokes_it() {
    let keep = Settings { expired_sessions: ExpiredSessions::Keep, ..settings() };
    let fleet = Fleet::in_world(World::with(keep).await, TLS13, false).await;
    let client = |name| fleet.clients.client_with(name, |params| params.not_after = from_now(HOUR));
    let leaves = [client("a"), client("b"), client("c")];
    let mut sessions = Vec::new();
    for leaf in &leaves {
        sessions.push(fleet.talk(&fleet.device(leaf)).await.unwrap());
    }
    fleet.world.clock.advance(2 * HOUR);
    fleet.is_refused_as(&fleet.device(&leaves[0]), "CertificateExpired", "certificate_expired").await;
    for (number, revoked) in [(1, 0), (2, 1), (3, 2)] {
        fleet.set_crl("devices", crl(&fleet.clients, number, &[]), StalePolicy::Soft).await;
        for session in &mut sessions[revoked..] {
            session.echo(b"kept").await.unwrap();
        }
        fleet.set_crl("revoked", crl(&fleet.clients, number, &[&leaves[revoked]]), StalePolicy::Soft).await;
        sessions[revoked].ends_cleanly().await;
    }
    assert_eq!((fleet.closed("revoked"), fleet.closed("expired"), fleet.closed("untrusted")), (3, 0, 0));
    fleet.world.shut_down().await;
}

/// The session began after the last change.
#[tokio::test]
async fn a_crl_that_goes_stale_again_ends_sessions_again() {
    let fleet = Fleet::new().await;
    let device = fleet.device(&fleet.clients.client("device"));
    fleet.set_crl("short", crl_until(&fleet.clients, 1, &[], HOUR), StalePolicy::Hard).await;
    fleet.set_crl("long", crl_until(&fleet.clients, 1, &[], 3 * HOUR), StalePolicy::Hard).await;
    let mut session = fleet.talk(&device).await.unwrap();
    fleet.world.clock.advance(2 * HOUR);
    session.ends_cleanly().await;
    fleet.remove_crl("short").await;
    let mut session = fleet.talk(&device).await.unwrap();
    fleet.world.clock.advance(2 * HOUR);
    session.ends_cleanly().await;
    fleet.world.shut_down().await;
}

#[tokio::test]
async fn the_newest_revocations_count_where_the_version_before_is_served() {
    let fleet = Fleet::new().await;
    let Fleet { world, deployment, servers, clients, .. } = &fleet;
    let leaves = [clients.client("a"), clients.client("b"), clients.client("c")];
    let [a, b, c] = leaves.each_ref().map(|leaf| fleet.device(leaf));
    world.sql(super::DAMAGE).await;
    world.put(deployment, &servers.server(&[HOST]), &[clients]).await;
    eventually("the node notices", || async {
        world.metric(r#"certward_gateway_proofs_total{result="failed"}"#) > 0
    })
    .await;
    let mut sessions = Vec::new();
    for device in [&a, &b, &c] {
        sessions.push(fleet.talk(device).await.unwrap());
    }
    fleet.set_crl("devices", crl(clients, 1, &[&leaves[0]]), StalePolicy::Soft).await;
    sessions[0].ends_cleanly().await;
    fleet.is_refused(&a).await;
    fleet.revoke(vec![super::certificate(&leaves[1])]).await;
    sessions[1].ends_cleanly().await;
    fleet.is_refused(&b).await;
    sessions[2].echo(b"undisturbed").await.unwrap();
    fleet.talk(&c).await.unwrap();
    fleet.world.shut_down().await;
}

#[tokio::test]
async fn a_deployment_whose_revocations_cannot_be_read_is_refused_alone_until_they_can() {
    let fleet = Fleet::new().await;
    let Fleet { world, deployment, servers, clients, .. } = &fleet;
    let other = world.deploy("other", world.mqtts(), &["other.test"]).await;
    world.run(&other, &servers.server(&["other.test"]), &[]).await;
    let leaf = clients.client("device");
    let mut session = fleet.talk(&fleet.device(&leaf)).await.unwrap();
    fleet.set_crl("devices", crl(clients, 1, &[]), StalePolicy::Soft).await;
    for (away, back) in [
        (
            ["CREATE TABLE kept AS SELECT * FROM crl_part", "UPDATE crl_part SET der = x'30'"],
            ["UPDATE crl_part SET der = (SELECT der FROM kept)", "DROP TABLE kept"],
        ),
        (
            ["ALTER TABLE crl_part RENAME TO away", "UPDATE crl SET entries = entries + 1"],
            ["ALTER TABLE away RENAME TO crl_part", "UPDATE crl SET entries = entries - 1"],
        ),
    ] {
        for statement in away {
            world.sql(statement).await;
        }
        // Read again, for it is another one.
        world.sql("UPDATE crl SET revision = randomblob(16)").await;
        world.sql("UPDATE deployment SET revocation_mark = (SELECT revision FROM crl) WHERE id = 'd'").await;
        let name = Some(away[0].to_owned());
        world.change(deployment, DeploymentPatch { name, ..DeploymentPatch::default() }).await;
        eventually("it is refused", || async { fleet.talk(&fleet.device(&leaf)).await.is_err() }).await;
        let refused = fleet.talk(&fleet.device(&leaf)).await.err().expect("it stays refused").to_string();
        assert!(refused.contains("InternalError"), "{refused}");
        let there = world.lifecycle.store().read().deployment(deployment).await.unwrap().unwrap();
        let is_acknowledged = async || {
            let without = world.lifecycle.nodes_without(deployment, there.generation).await.unwrap();
            without == Some(SilentNodes::These(vec![]))
        };
        assert!(!is_acknowledged().await);
        Device::trusting(servers).connect(world.mqtts(), "other.test").await.expect("others are served");
        session.echo(b"nothing is known against it").await.unwrap();
        for statement in back {
            world.sql(statement).await;
        }
        eventually("it is served again", || async { fleet.talk(&fleet.device(&leaf)).await.is_ok() }).await;
        eventually("it is acknowledged", &is_acknowledged).await;
    }
    fleet.world.shut_down().await;
}
