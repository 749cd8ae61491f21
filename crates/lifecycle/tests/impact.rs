//! The impact of a change on devices that the store knows.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::{net::Ipv4Addr, sync::Arc, time::Instant};

use certward_lifecycle::{
    AlertMessage, Handling, Impact, ImpactSeverity, RefusedShare, TlsError, alert_summary,
};
use certward_pki::{ClientTrust, DeviceCertificate, DeviceId, DeviceIdentity, Upload};
use certward_store::{Alert, AlertPage, DeploymentRef, DeviceBatch, DeviceSighting, HostSighting, Timestamp};
use certward_test_support::Leaf;
use support::{Authority, HOST, Uploads, World};

/// As a verifier of this client CA accepted it.
fn device(leaf: &Leaf, client_ca: &Authority) -> DeviceCertificate {
    let chain: Vec<_> =
        std::iter::once(&leaf.der).chain(&leaf.intermediates).map(|der| der.clone().into()).collect();
    let trust = ClientTrust::new(vec![client_ca.der().to_vec().into()]).unwrap();
    DeviceCertificate::read(&chain, &trust, DeviceIdentity::Cn).unwrap()
}

fn sighting(deployment: &DeploymentRef, device: DeviceCertificate, at: Timestamp) -> DeviceSighting {
    DeviceSighting {
        deployment: deployment.clone(),
        device: Arc::new(device),
        at,
        host: None,
        tls_version: "1.3",
        address: Ipv4Addr::LOCALHOST.into(),
    }
}

async fn record(world: &World, devices: Vec<DeviceSighting>) {
    let batch = DeviceBatch { devices, ..DeviceBatch::default() };
    world.lifecycle.store().record_devices(&batch).await.unwrap();
}

async fn impact(world: &World, upload: Upload) -> Option<Impact> {
    let deployment = world.deployment().await;
    let checked =
        world.lifecycle.check_tls(&world.admin, &deployment, upload.into(), Handling::Lenient).await;
    checked.unwrap().impact
}

#[tokio::test]
async fn known_devices_that_would_be_refused_are_counted_and_named() {
    let (world, server) = (World::new().await, Authority::new("Server CA"));
    let (old, kept) = (Authority::new("Old CA"), Authority::new("Kept CA"));
    world.create(server.two_way(&[&old, &kept])).await;
    assert_eq!(impact(&world, server.two_way(&[&kept])).await, None, "nothing is known yet");

    let (now, of) = (world.lifecycle.store().clock().now(), world.deployment().await.reference());
    let mut seen = Vec::new();
    for n in 0..30 {
        let at = Timestamp(now.0 - n * 60_000);
        seen.push(sighting(&of, device(&old.client(&format!("old-{n}")), &old), at));
    }
    for n in 0..5 {
        seen.push(sighting(&of, device(&kept.client(&format!("kept-{n}")), &kept), now));
    }
    let expired = old.client_with("expired", |params| {
        params.not_after = time::macros::datetime!(2026-11-25 12:00:01 UTC);
    });
    seen.push(sighting(&of, device(&expired, &old), now));
    record(&world, seen).await;
    world.clock.advance(std::time::Duration::from_secs(60));

    let without_old = impact(&world, server.two_way(&[&kept])).await.unwrap();
    assert_eq!(without_old.severity, ImpactSeverity::Notable);
    assert_eq!(without_old.known, RefusedShare { refused: 30, of: 35 });
    assert_eq!(without_old.connected, RefusedShare::default());
    // Lately seen first.
    let names: Vec<&str> = without_old.named.iter().map(|device| &*device.name).collect();
    assert_eq!(names, (0..20).map(|n| format!("old-{n}")).collect::<Vec<_>>());
    assert!(without_old.named.iter().all(|device| &*device.reason == "No client CA issued the certificate."));

    for harmless in [server.two_way(&[&old, &kept]), server.keep(), server.one_way()] {
        let impact = impact(&world, harmless).await.unwrap();
        assert_eq!((impact.severity, impact.known.refused), (ImpactSeverity::None, 0), "{impact:?}");
    }
    world.lifecycle.create_deployment(&world.admin, world.new_deployment("other")).await.unwrap();
    let other = world.that("other").await;
    let created = world.lifecycle.create_tls(&world.admin, &other, server.one_way().into(), Handling::Strict);
    assert_eq!(created.await.unwrap().impact, None, "devices of another deployment");
}

/// Devices ask for its host.
async fn world_in_use(server: &Authority) -> World {
    let world = World::new().await;
    world.create(server.one_way()).await;
    let at = world.lifecycle.store().clock().now();
    let before = world.deployment().await;
    let asked = ["elsewhere.example.com", HOST].map(|host| HostSighting {
        deployment: before.reference(),
        host: host.into(),
        at,
    });
    let batch = DeviceBatch { hosts: asked.to_vec(), ..DeviceBatch::default() };
    world.lifecycle.store().record_devices(&batch).await.unwrap();
    world
}

async fn alerts(world: &World) -> Vec<Alert> {
    let page = AlertPage { projects: None, before: None, limit: 100 };
    world.lifecycle.store().read().alerts(&page).await.unwrap()
}

#[tokio::test]
async fn a_strict_change_of_severe_impact_stores_nothing() {
    let server = Authority::new("Server CA");
    let world = world_in_use(&server).await;
    let before = world.deployment().await;
    let other = || support::one_way(&server.server(&["elsewhere.example.com"]));
    let this = before.reference();
    let change = |upload: Upload, handling| {
        world.lifecycle.replace_tls(&world.admin, &this, upload.into(), handling, None)
    };
    match change(other(), Handling::Strict).await {
        Err(TlsError::ImpactSevere(impact)) => assert_eq!(impact.hosts_lost, [HOST]),
        done => panic!("{done:?}"),
    }
    assert_eq!(world.deployment().await, before);
    let renewed = change(server.one_way(), Handling::Strict).await.unwrap();
    assert_eq!(renewed.impact.unwrap().severity, ImpactSeverity::None);
    let forced = change(other(), Handling::Lenient).await.unwrap();
    assert_eq!(forced.impact.unwrap().severity, ImpactSeverity::Severe);
}

#[tokio::test]
async fn a_stopped_change_is_recorded_once_until_its_leaf_is_accepted() {
    let server = Authority::new("Server CA");
    let world = world_in_use(&server).await;
    let (first, this) = (world.deployment().await.tls.version(), world.this().await);
    let elsewhere = server.server(&["elsewhere.example.com"]);
    let fingerprint = certward_pki::fingerprint(&elsewhere.der);
    let other = || Arc::new(support::one_way(&elsewhere));
    let check = async |upload: Arc<Upload>, handling| {
        let deployment = world.deployment().await;
        world.lifecycle.check_tls(&world.admin, &deployment, upload, handling).await.map(drop)
    };
    let replace = async |upload: Arc<Upload>, handling| {
        world.lifecycle.replace_tls(&world.admin, &this, upload, handling, None).await.map(drop)
    };
    let is_stopped =
        |done: Result<(), TlsError>| assert!(matches!(done, Err(TlsError::ImpactSevere(_))), "{done:?}");

    check(other(), Handling::Lenient).await.unwrap();
    check(Arc::new(server.one_way()), Handling::Strict).await.unwrap();
    assert_eq!(alerts(&world).await, [], "neither was stopped");
    is_stopped(check(other(), Handling::Strict).await);
    let recorded = alerts(&world).await;
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    let alert = &recorded[0];
    assert_eq!((&alert.item, &alert.owners[..]), (&fingerprint, &[world.id.to_string()][..]));
    assert_eq!(
        alert_summary(alert),
        format!(
            "A change of deployment ge6a1a75 was stopped: the host {HOST} is in use and would not be covered any more"
        )
    );
    world.clock.advance(std::time::Duration::from_secs(60));
    for _ in 0..2 {
        is_stopped(check(other(), Handling::Strict).await);
        is_stopped(replace(other(), Handling::Strict).await);
    }
    assert_eq!(alerts(&world).await, recorded, "once");
    let another = Arc::new(support::one_way(&server.server(&["elsewhere.example.com"])));
    is_stopped(replace(another, Handling::Strict).await);
    assert_eq!(alerts(&world).await.len(), 2, "another leaf");

    replace(other(), Handling::Lenient).await.unwrap();
    let withdrawn: Vec<_> = alerts(&world).await;
    let is_withdrawn = |alert: &Alert| alert.withdrawn_at.is_some();
    assert_eq!(withdrawn.iter().map(is_withdrawn).collect::<Vec<_>>(), [false, true]);
    assert_eq!(alert_of(&withdrawn, &fingerprint).withdrawn_at, Some(world.lifecycle.store().clock().now()));

    // Back, and a strict rollback to it is stopped, too.
    replace(Arc::new(server.one_way()), Handling::Lenient).await.unwrap();
    let kept = world.lifecycle.tls_versions(&this).await.unwrap().unwrap();
    let forced = kept.iter().find(|kept| kept.fingerprint == fingerprint).unwrap().version.version;
    let roll_back =
        world.lifecycle.roll_back_tls(&world.admin, &this, Some(forced), Handling::Strict, None).await;
    is_stopped(roll_back.map(drop));
    assert!(!is_withdrawn(alert_of(&alerts(&world).await, &fingerprint)), "it is recorded again");
    assert_ne!(world.deployment().await.tls.version(), first);
}

fn alert_of<'a>(alerts: &'a [Alert], fingerprint: &str) -> &'a Alert {
    alerts.iter().find(|alert| alert.item == fingerprint).unwrap()
}

#[tokio::test]
async fn an_alert_counts_devices_and_names_none() {
    let (world, server) = (World::new().await, Authority::new("Server CA"));
    let (old, kept) = (Authority::new("Old CA"), Authority::new("Kept CA"));
    world.create(server.two_way(&[&old])).await;
    let now = world.lifecycle.store().clock().now();
    record(&world, vec![sighting(&world.this().await, device(&old.client("secret-name"), &old), now)]).await;
    let another_root = Authority::new("Another root");
    let deployment = world.deployment().await;
    let upload = Arc::new(another_root.two_way(&[&kept]));
    match world.lifecycle.check_tls(&world.admin, &deployment, upload, Handling::Strict).await {
        Err(TlsError::ImpactSevere(impact)) => assert_eq!(&*impact.named[0].name, "secret-name"),
        done => panic!("{done:?}"),
    }
    let recorded = alerts(&world).await;
    assert!(!format!("{recorded:?}").contains("secret-name"));
    let message = AlertMessage::of(&recorded[0]);
    let data = serde_json::from_str::<serde_json::Value>(&message.json).unwrap()["data"].clone();
    assert_eq!(data["known"], serde_json::json!({"refused": 1, "of": 1}));
    assert_eq!(data["severity"], "severe");
    assert_eq!(data["rootChanged"]["to"], "CN=Another root");
}

/// Printed, not judged: machines differ.
#[tokio::test]
#[ignore = "measures; cargo test --release -p certward-lifecycle --test impact -- --ignored --nocapture"]
async fn how_long_a_hundred_thousand_devices_take() {
    const DEVICES: u32 = 100_000;
    const PATHS: u32 = 20;
    let (world, server) = (World::new().await, Authority::new("Server CA"));
    let root = Authority::new("Fleet CA");
    world.create(server.two_way(&[&root])).await;
    let examples: Vec<DeviceCertificate> = (0..PATHS)
        .map(|n| device(&root.intermediate(&format!("line {n}")).client("device"), &root))
        .collect();
    let (now, of) = (world.lifecycle.store().clock().now(), world.deployment().await.reference());
    let seen = (0..DEVICES).map(|n| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        let example = examples[(n % PATHS) as usize].clone();
        let name = format!("device-{n}").into();
        sighting(&of, DeviceCertificate { id: DeviceId(id), name, ..example }, now)
    });
    let begun = Instant::now();
    record(&world, seen.collect()).await;
    println!("recorded in {:?}", begun.elapsed());
    let judged = server.two_way(&[&Authority::new("Another CA")]);
    let deployment = world.deployment().await;
    let begun = Instant::now();
    let checked =
        world.lifecycle.check_tls(&world.admin, &deployment, judged.into(), Handling::Lenient).await.unwrap();
    println!("checked in {:?}", begun.elapsed());
    let refused = u64::from(DEVICES);
    assert_eq!(checked.impact.unwrap().known, RefusedShare { refused, of: refused });
}
