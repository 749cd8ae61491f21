//! Versions: the list, rolling back, erasing a key.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::time::Duration;

use certward_lifecycle::{
    AcceptedUpload, Handling, NewKey, TlsError, VersionView, assignment_in, material_in,
};
use certward_pki::{Code, TlsType};
use certward_store::{AuditPage, Scope, VersionId};
use support::{Authority, Rehearsals, Uploads, World, not_proven};
use tokio::task::JoinHandle;

impl World {
    async fn versions(&self) -> Vec<VersionView> {
        self.lifecycle.tls_versions(&self.this().await).await.unwrap().unwrap()
    }

    /// `status`, of each, newest first.
    async fn statuses(&self) -> Vec<&'static str> {
        self.versions().await.iter().map(|version| version.status.as_str()).collect()
    }

    async fn roll_back(&self, version: Option<VersionId>) -> Result<VersionId, TlsError> {
        self.lifecycle
            .roll_back_tls(&self.admin, &self.this().await, version, Handling::Lenient, None)
            .await?;
        Ok(self.newest_version().await)
    }

    async fn erase(&self, version: VersionId) -> Result<(), TlsError> {
        self.lifecycle.erase_version(&self.admin, &self.this().await, version).await
    }

    async fn newest_version(&self) -> VersionId {
        self.deployment().await.tls.version().unwrap()
    }

    async fn leaf(&self, version: VersionId) -> Vec<u8> {
        self.lifecycle.store().read().version(&self.id, version).await.unwrap().unwrap().chain.remove(0)
    }

    async fn has_key(&self, version: VersionId) -> bool {
        self.lifecycle.store().read().private_key(&self.id, version).await.unwrap().is_some()
    }
}

#[tokio::test]
async fn a_rollback_is_a_change_like_any_other() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let node = world.join("node-a").await;
    world.create(ca.one_way()).await;
    world.report(&node, Ok(())).await;
    let first = world.newest_version().await;
    world.replace(ca.one_way()).await;
    world.report(&node, Ok(())).await;
    let second = world.newest_version().await;

    let third = world.roll_back(None).await.unwrap();
    assert!(third > second, "it is a version of its own");
    assert_eq!(world.status().await, "pending");
    assert_eq!(world.statuses().await, ["pending", "rolledBack", "superseded"]);
    world.report(&node, Ok(())).await;
    assert_eq!(world.statuses().await, ["running", "rolledBack", "superseded"]);

    assert_eq!(world.leaf(third).await, world.leaf(first).await);
    let versions = world.versions().await;
    assert_eq!(versions[0].version.restores, Some(first));
    assert_eq!(versions[1].version.restores, None);
    for version in &versions {
        assert_eq!(version.version.accepted_by.as_ref(), Some(&world.admin));
        assert_eq!((version.chain.len(), version.client_cas.len()), (1, 0));
    }
    let store = world.lifecycle.store().read();
    let (_, assigned) = assignment_in(&store, &world.id).await.unwrap().unwrap();
    let newest = assigned.unwrap().newest;
    let material = material_in(&store, &newest).await.unwrap();
    assert_eq!(material.bundle.leaf().as_ref(), world.leaf(first).await, "with its own key");

    let page = AuditPage { limit: 2, ..AuditPage::default() };
    let audit = store.audit(&page).await.unwrap();
    let row = &audit.iter().find(|row| row.record.action == "tls.rollback").unwrap().record;
    assert!(row.detail.starts_with(&format!("version {third}, restores {first}, one-way")), "{}", row.detail);
    assert_eq!(row.certificate.after, Some(versions[0].chain[0].fingerprint.clone()));
    assert_eq!(row.certificate.before, Some(versions[1].chain[0].fingerprint.clone()));
}

#[tokio::test]
async fn without_a_version_it_goes_to_the_last_one_that_was_running() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let node = world.join("node-a").await;
    world.create(ca.one_way()).await;
    let only = world.newest_version().await;
    world.report(&node, Ok(())).await;
    let refused = world.roll_back(None).await;
    assert!(matches!(refused, Err(TlsError::NoVersion(None))), "{refused:?}");
    for _ in 0..2 {
        world.replace(ca.one_way()).await;
        world.report(&node, not_proven("the listener is down")).await;
    }
    let third = world.roll_back(None).await.unwrap();
    assert_eq!(world.leaf(third).await, world.leaf(only).await);
    world.report(&node, Ok(())).await;
    assert_eq!(world.status().await, "running");
}

#[tokio::test]
async fn a_rollback_needs_a_certificate_a_kept_version_and_its_key() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let node = world.join("node-a").await;
    let refused = world.roll_back(None).await;
    assert!(matches!(refused, Err(TlsError::NotFound)), "{refused:?}");

    world.create(ca.one_way()).await;
    world.report(&node, Ok(())).await;
    let first = world.newest_version().await;
    let refused = world.roll_back(Some(first)).await;
    assert!(matches!(refused, Err(TlsError::VersionInService(version)) if version == first), "{refused:?}");
    let refused = world.roll_back(Some(VersionId(first.0 + 1))).await;
    assert!(matches!(refused, Err(TlsError::NoVersion(Some(_)))), "{refused:?}");

    world.delete().await;
    let refused = world.roll_back(Some(first)).await;
    assert!(matches!(refused, Err(TlsError::NotFound)), "a deletion under way counts: {refused:?}");
    assert_eq!(world.statuses().await, ["erased"]);
    world.report(&node, Ok(())).await;
    assert_eq!(world.statuses().await, ["erased"], "kept after the deletion, too");
    world.create(ca.one_way()).await;
    for wanted in [Some(first), None] {
        let refused = world.roll_back(wanted).await;
        assert!(matches!(refused, Err(TlsError::VersionErased(version)) if version == first), "{refused:?}");
    }
}

#[tokio::test]
async fn a_version_is_judged_as_it_stands_now() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let short = ca.server_with(&[support::HOST], |leaf| {
        leaf.not_after = time::macros::datetime!(2026-12-01 12:00 UTC);
    });
    world.create(support::one_way(&short)).await;
    let first = world.newest_version().await;
    world.replace(ca.one_way()).await;
    let before = world.deployment().await;

    *world.gateway.refusal.lock().unwrap() = Some("the key size is not supported".into());
    let refused = world.roll_back(Some(first)).await;
    let Err(TlsError::Refused(findings)) = refused else { panic!("{refused:?}") };
    assert_eq!(findings[0].code, Code::NotServable, "rehearsed again");
    *world.gateway.refusal.lock().unwrap() = None;

    world.clock.advance(Duration::from_secs(7 * 24 * 60 * 60));
    let refused = world.roll_back(Some(first)).await;
    let Err(TlsError::Refused(findings)) = refused else { panic!("{refused:?}") };
    assert_eq!(findings[0].code, Code::LeafExpired);
    assert_eq!(world.deployment().await, before);
    let warnings = &world.versions().await[1].warnings;
    assert_eq!(warnings[0].code, Code::LeafExpired, "the list says it before");
}

#[tokio::test]
async fn a_rollback_keeps_the_trust_scope_exactly_if_each_client_of_the_newest_stays_trusted() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let (one, two) = (Authority::new("Clients 1"), Authority::new("Clients 2"));
    world.create(ca.two_way(&[&one])).await;
    let narrow = (world.newest_version().await, world.trust_scope().await);
    world.replace(ca.two_way(&[&one, &two])).await;
    let wide = (world.newest_version().await, world.trust_scope().await);
    assert_eq!(wide.1, narrow.1, "a CA more");
    world.replace(ca.two_way(&[&two, &one])).await;
    assert_eq!(world.trust_scope().await, wide.1);

    world.roll_back(Some(wide.0)).await.unwrap();
    assert_eq!(world.client_cas().await, [one.der(), two.der()]);
    assert_eq!(world.trust_scope().await, wide.1, "no session is verified again");

    // Not its own of before: tickets of that time must not become valid again.
    world.roll_back(Some(narrow.0)).await.unwrap();
    assert_eq!(world.client_cas().await, [one.der()]);
    let narrowed = world.trust_scope().await;
    assert_ne!(narrowed, wide.1);
    world.roll_back(Some(wide.0)).await.unwrap();
    assert_eq!(world.trust_scope().await, narrowed, "a CA more");

    world.replace(ca.one_way()).await;
    let one_way = world.trust_scope().await;
    world.roll_back(None).await.unwrap_err();
    world.roll_back(Some(narrow.0)).await.unwrap();
    let newest = &world.versions().await[0];
    assert_eq!((newest.version.tls_type, newest.client_cas.len()), (TlsType::TwoWay, 1));
    assert_ne!(world.trust_scope().await, one_way);
}

/// Two that were running, and a rollback that waits in its rehearsal.
async fn judged(
    world: &World,
    wanted: impl FnOnce(VersionId) -> Option<VersionId>,
) -> ([VersionId; 2], Rehearsals, JoinHandle<Result<AcceptedUpload, TlsError>>) {
    let ca = Authority::new("CA");
    let node = world.join("node-a").await;
    world.create(ca.one_way()).await;
    world.report(&node, Ok(())).await;
    let first = world.newest_version().await;
    world.replace(ca.one_way()).await;
    world.report(&node, Ok(())).await;
    let mut rehearsals = world.gateway.hold_rehearsals();
    let (lifecycle, admin, this) = (world.lifecycle.clone(), world.admin.clone(), world.this().await);
    let wanted = wanted(first);
    let rollback =
        tokio::spawn(
            async move { lifecycle.roll_back_tls(&admin, &this, wanted, Handling::Lenient, None).await },
        );
    rehearsals.begun().await;
    ([first, world.newest_version().await], rehearsals, rollback)
}

#[tokio::test]
async fn a_key_that_is_erased_while_it_is_judged_stays_erased() {
    let world = World::new().await;
    let ([first, second], rehearsals, rollback) = judged(&world, Some).await;
    world.erase(first).await.unwrap();
    rehearsals.go_on();
    let refused = rollback.await.unwrap();
    assert!(matches!(refused, Err(TlsError::VersionErased(version)) if version == first), "{refused:?}");
    assert_eq!(world.newest_version().await, second);
}

#[tokio::test]
async fn a_newer_upload_while_it_is_judged_makes_another_version_the_one_before() {
    let world = World::new().await;
    let ([_, second], mut rehearsals, rollback) = judged(&world, |_| None).await;
    // Of another node, whose rehearsals are not held.
    let upload = Authority::new("CA").one_way().into();
    world
        .another_lifecycle()
        .replace_tls(&world.admin, &world.this().await, upload, Handling::Lenient, None)
        .await
        .unwrap();
    rehearsals.go_on();
    rehearsals.begun().await;
    rehearsals.go_on();
    rollback.await.unwrap().unwrap();
    assert_eq!(world.versions().await[0].version.restores, Some(second));
}

#[tokio::test]
async fn a_key_is_erased_unless_it_is_in_service() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let node = world.join("node-a").await;
    let mut versions = Vec::new();
    for n in 0..3 {
        match n {
            0 => world.create(ca.one_way()).await,
            _ => world.replace(ca.one_way()).await,
        };
        versions.push(world.newest_version().await);
        if n < 2 {
            world.report(&node, Ok(())).await;
        }
    }
    let [first, second, third] = versions[..] else { unreachable!() };
    for in_service in [second, third] {
        let refused = world.erase(in_service).await;
        assert!(matches!(refused, Err(TlsError::VersionInService(version)) if version == in_service));
    }
    let refused = world.erase(VersionId(999)).await;
    assert!(matches!(refused, Err(TlsError::NoVersion(Some(VersionId(999))))), "{refused:?}");

    let before = world.generation().await;
    world.erase(first).await.unwrap();
    let erased = world.generation().await;
    assert!(erased > before, "the nodes must hear of it");
    assert_eq!(world.status().await, "pending", "and prove the newest at this generation");
    world.erase(first).await.unwrap();
    assert_eq!(world.generation().await, erased, "the same again is no change");
    world.report(&node, Ok(())).await;
    assert_eq!(world.status().await, "running");

    // No node needs it any more.
    world.erase(second).await.unwrap();
    assert_eq!(world.statuses().await, ["running", "erased", "erased"]);
    assert_eq!(world.status().await, "running");
    let has = [world.has_key(first).await, world.has_key(second).await, world.has_key(third).await];
    assert_eq!(has, [false, false, true]);
    let store = world.lifecycle.store().read();
    let (_, assigned) = assignment_in(&store, &world.id).await.unwrap().unwrap();
    assert_eq!(assigned.unwrap().fallback, None);

    let audit = store.audit(&AuditPage { limit: 20, ..AuditPage::default() }).await.unwrap();
    let erasures = audit.iter().filter(|row| row.record.action == "tls.version-erase");
    assert_eq!(erasures.count(), 2, "one for each key");
}

#[tokio::test]
async fn rights_are_those_of_changes() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    world.create(ca.one_way()).await;
    let first = world.newest_version().await;
    world.replace(ca.one_way()).await;
    let reader = NewKey::new("reader", &[Scope::TlsRead], None);
    let reader = &world.lifecycle.create_key(&world.admin, &reader).await.unwrap().0.key;
    let refused = world
        .lifecycle
        .roll_back_tls(reader, &world.this().await, Some(first), Handling::Lenient, None)
        .await;
    assert!(matches!(refused, Err(TlsError::Denied(_))), "{refused:?}");
    let refused = world.lifecycle.erase_version(reader, &world.this().await, first).await;
    assert!(matches!(refused, Err(TlsError::Denied(_))), "{refused:?}");

    let this = world.this().await;
    world.lifecycle.remove_deployment(&world.admin, &this).await.unwrap();
    let gone = world.lifecycle.roll_back_tls(&world.admin, &this, None, Handling::Lenient, None).await;
    assert!(matches!(gone, Err(TlsError::NoDeployment)), "{gone:?}");
    let gone = world.lifecycle.erase_version(&world.admin, &this, first).await;
    assert!(matches!(gone, Err(TlsError::NoDeployment)), "{gone:?}");
    assert_eq!(world.lifecycle.tls_versions(&this).await.unwrap(), None);
}
