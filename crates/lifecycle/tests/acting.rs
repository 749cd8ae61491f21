//! State read at a request's start that has changed by its write.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod support;

use std::time::Duration;

use certward_lifecycle::{AcceptedUpload, DeploymentError, Handling, TlsError};
use certward_pki::{Code, HostName, Profile};
use certward_store::{DeploymentPatch, DeploymentRef, Generation, ProjectId};
use support::{Authority, Uploads, World};
use tokio::task::JoinHandle;

fn hosts(names: &[&str]) -> DeploymentPatch {
    let hosts = names.iter().map(|name| HostName::parse(name).unwrap()).collect();
    DeploymentPatch { hosts: Some(hosts), ..DeploymentPatch::default() }
}

impl World {
    async fn creating(&self, ca: &Authority) -> JoinHandle<Result<AcceptedUpload, TlsError>> {
        let (lifecycle, admin, this) = (self.lifecycle.clone(), self.admin.clone(), self.this().await);
        let upload = ca.one_way().into();
        tokio::spawn(async move { lifecycle.create_tls(&admin, &this, upload, Handling::Lenient).await })
    }

    async fn changed(&self, change: DeploymentPatch) {
        self.lifecycle.change_deployment(&self.admin, &self.this().await, change).await.unwrap();
    }
}

/// Fails while a rehearsal is held.
async fn ended<T>(task: JoinHandle<T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), task).await.expect("it ends").unwrap()
}

#[tokio::test]
async fn an_upload_is_judged_for_the_hosts_that_it_is_stored_for() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let mut rehearsals = world.gateway.hold_rehearsals();
    let creating = world.creating(&ca).await;
    rehearsals.begun().await;
    world.changed(hosts(&["ge6a1a75.example.com", "other.example.com"])).await;
    rehearsals.go_on();
    rehearsals.begun().await;
    rehearsals.go_on();
    let made = ended(creating).await.unwrap();
    let codes: Vec<_> = made.view.warnings.iter().map(|finding| finding.code).collect();
    assert!(codes.contains(&Code::HostNotCovered), "{codes:?}");
}

#[tokio::test]
async fn an_upload_is_judged_by_the_profile_that_holds_when_it_is_stored() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    // Less than 60 days are left.
    world.clock.advance(Duration::from_secs(300 * 24 * 60 * 60));
    let mut rehearsals = world.gateway.hold_rehearsals();
    let creating = world.creating(&ca).await;
    rehearsals.begun().await;
    world.changed(DeploymentPatch { profile: Some(Profile::EmqxCloud), ..DeploymentPatch::default() }).await;
    rehearsals.go_on();
    let refused = ended(creating).await;
    assert!(matches!(refused, Err(TlsError::Refused(_))), "{refused:?}");
    assert_eq!(world.status().await, "absent");
}

#[tokio::test]
async fn a_change_that_the_judgement_does_not_depend_on_costs_no_second_one() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let mut rehearsals = world.gateway.hold_rehearsals();
    let creating = world.creating(&ca).await;
    rehearsals.begun().await;
    world.changed(DeploymentPatch { name: Some("another".into()), ..DeploymentPatch::default() }).await;
    rehearsals.go_on();
    ended(creating).await.unwrap();
}

#[tokio::test]
async fn client_cas_are_kept_of_the_upload_that_is_replaced() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let (before, since) = (Authority::new("Devices"), Authority::new("New devices"));
    world.create(ca.two_way(&[&before])).await;
    let mut rehearsals = world.gateway.hold_rehearsals();
    let (lifecycle, admin, this) = (world.lifecycle.clone(), world.admin.clone(), world.this().await);
    let upload = ca.keep().into();
    let keeping =
        tokio::spawn(
            async move { lifecycle.replace_tls(&admin, &this, upload, Handling::Lenient, None).await },
        );
    rehearsals.begun().await;
    let other = world.another_lifecycle();
    other
        .replace_tls(&world.admin, &world.this().await, ca.two_way(&[&since]).into(), Handling::Lenient, None)
        .await
        .unwrap();
    rehearsals.go_on();
    rehearsals.begun().await;
    rehearsals.go_on();
    ended(keeping).await.unwrap();
    assert_eq!(
        world.client_cas().await,
        [since.der()],
        "a CA that was removed while it was judged stays removed"
    );
}

#[tokio::test]
async fn an_upload_for_a_deployment_that_keeps_changing_is_refused_and_not_stored() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let mut rehearsals = world.gateway.hold_rehearsals();
    let creating = world.creating(&ca).await;
    for judged in 1..=4 {
        rehearsals.begun().await;
        world.changed(hosts(&["ge6a1a75.example.com", &format!("host-{judged}.example.com")])).await;
        rehearsals.go_on();
    }
    let refused = ended(creating).await;
    assert!(matches!(refused, Err(TlsError::KeepsChanging)), "{refused:?}");
    assert_eq!(world.status().await, "absent");
}

#[tokio::test]
async fn a_deployment_created_again_is_another_one() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let was = world.deployment().await;
    let before = was.reference();
    world.lifecycle.remove_deployment(&world.admin, &before).await.unwrap();
    world.lifecycle.create_deployment(&world.admin, world.new_deployment("ge6a1a75")).await.unwrap();
    let after = world.deployment().await;
    assert_eq!((&before.id, &before.project), (&after.id, &after.project));
    assert_eq!(after.born, after.generation, "the generation of its creation");
    refused_for(&world, &before, &ca).await;
    // A later deployment of this id, and another project's.
    refused_for(&world, &DeploymentRef { born: Generation(after.born.0 + 1), ..before.clone() }, &ca).await;
    let elsewhere = ProjectId::parse("other").unwrap();
    refused_for(&world, &DeploymentRef { project: elsewhere, ..after.reference() }, &ca).await;
    assert_eq!(world.deployment().await, after);
    assert_eq!(world.lifecycle.tls(&was).await.unwrap(), None, "nor is it shown");
    world.changed(hosts(&["ge6a1a75.example.com"])).await;
    world.create(ca.one_way()).await;
    assert_eq!(world.this().await, after.reference());
}

async fn refused_for(world: &World, meant: &DeploymentRef, ca: &Authority) {
    let (lifecycle, admin) = (&world.lifecycle, &world.admin);
    let upload = || ca.one_way().into();
    let created = lifecycle.create_tls(admin, meant, upload(), Handling::Lenient).await;
    assert!(matches!(created, Err(TlsError::NoDeployment)), "{created:?}");
    let replaced = lifecycle.replace_tls(admin, meant, upload(), Handling::Lenient, None).await;
    assert!(matches!(replaced, Err(TlsError::NoDeployment)), "{replaced:?}");
    let deleted = lifecycle.delete_tls(admin, meant, None).await;
    assert!(matches!(deleted, Err(TlsError::NoDeployment)), "{deleted:?}");
    let changed = lifecycle.change_deployment(admin, meant, hosts(&["x.example.com"])).await;
    assert!(matches!(changed, Err(DeploymentError::NotFound)), "{changed:?}");
    let removed = lifecycle.remove_deployment(admin, meant).await;
    assert!(matches!(removed, Err(DeploymentError::NotFound)), "{removed:?}");
}
