//! The impact of a change on devices that the store knows.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::{net::Ipv4Addr, sync::Arc, time::Instant};

use certward_lifecycle::{Handling, Impact, ImpactSeverity, RefusedShare, TlsError};
use certward_pki::{ClientTrust, DeviceCertificate, DeviceId, DeviceIdentity, Upload};
use certward_store::{DeploymentId, DeviceBatch, DeviceSighting, HostSighting, Timestamp};
use certward_test_support::Leaf;
use support::{Authority, HOST, Uploads, World};

/// As a verifier of this client CA accepted it.
fn device(leaf: &Leaf, client_ca: &Authority) -> DeviceCertificate {
    let chain: Vec<_> =
        std::iter::once(&leaf.der).chain(&leaf.intermediates).map(|der| der.clone().into()).collect();
    let trust = ClientTrust::new(vec![client_ca.der().to_vec().into()]).unwrap();
    DeviceCertificate::read(&chain, &trust, DeviceIdentity::Cn).unwrap()
}

fn sighting(deployment: &DeploymentId, device: DeviceCertificate, at: Timestamp) -> DeviceSighting {
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

    let now = world.lifecycle.store().clock().now();
    let mut seen = Vec::new();
    for n in 0..30 {
        let at = Timestamp(now.0 - n * 60_000);
        seen.push(sighting(&world.id, device(&old.client(&format!("old-{n}")), &old), at));
    }
    for n in 0..5 {
        seen.push(sighting(&world.id, device(&kept.client(&format!("kept-{n}")), &kept), now));
    }
    let expired = old.client_with("expired", |params| {
        params.not_after = time::macros::datetime!(2026-11-25 12:00:01 UTC);
    });
    seen.push(sighting(&world.id, device(&expired, &old), now));
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

#[tokio::test]
async fn a_strict_change_of_severe_impact_stores_nothing() {
    let (world, server) = (World::new().await, Authority::new("Server CA"));
    world.create(server.one_way()).await;
    let at = world.lifecycle.store().clock().now();
    let asked = ["elsewhere.example.com", HOST].map(|host| HostSighting {
        deployment: world.id.clone(),
        host: host.into(),
        at,
    });
    let batch = DeviceBatch { hosts: asked.to_vec(), ..DeviceBatch::default() };
    world.lifecycle.store().record_devices(&batch).await.unwrap();

    let before = world.deployment().await;
    let other = || support::one_way(&server.server(&["elsewhere.example.com"]));
    let this = before.reference();
    let change =
        |upload: Upload, handling| world.lifecycle.replace_tls(&world.admin, &this, upload.into(), handling);
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
    let now = world.lifecycle.store().clock().now();
    let seen = (0..DEVICES).map(|n| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        let example = examples[(n % PATHS) as usize].clone();
        let name = format!("device-{n}").into();
        sighting(&world.id, DeviceCertificate { id: DeviceId(id), name, ..example }, now)
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
