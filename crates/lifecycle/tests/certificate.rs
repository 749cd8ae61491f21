//! The life of a certificate.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod support;

use std::time::Duration;

use certward_lifecycle::{
    Handling, Member, NewDeployment, ProofFailure, TlsError, TlsView, assignment_in, material_in,
};
use certward_pki::{Code, HostName, NoEntryPoint, TlsType};
use certward_store::{AuditPage, DeploymentPatch, Generation, NodeId, ProjectId, TlsState};
use support::{Authority, Uploads, World, given, not_proven, self_signed};

#[tokio::test]
async fn a_certificate_is_created_proven_replaced_and_deleted() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let node = world.join("node-a").await;
    assert_eq!(world.status().await, "absent");

    let view = world.create(ca.one_way()).await;
    assert_eq!(support::status_of(&view), "pending");
    assert_eq!(view.common_name.as_deref(), Some("ge6a1a75.example.com"));
    world.report(&node, Ok(())).await;
    assert_eq!(world.status().await, "running");

    world.replace(ca.one_way()).await;
    assert_eq!(world.status().await, "pending");
    world.report(&node, Ok(())).await;
    assert_eq!(world.status().await, "running");

    world.delete().await;
    assert_eq!(world.status().await, "terminated");
    world.report(&node, Ok(())).await;
    assert_eq!(world.status().await, "absent");

    let actions: Vec<String> = world
        .lifecycle
        .store()
        .read()
        .audit(&AuditPage { limit: 20, ..AuditPage::default() })
        .await
        .unwrap()
        .into_iter()
        .rev()
        .map(|listed| listed.record.action)
        .collect();
    let expected = [
        "audit.start",
        "key.create",
        "deployment.create",
        "tls.create",
        "tls.running",
        "tls.replace",
        "tls.running",
        "tls.delete",
        "tls.deleted",
    ];
    assert_eq!(actions, expected);
}

#[tokio::test]
async fn a_change_fits_its_state_or_is_refused() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    world.join("node-a").await;
    let lifecycle = &world.lifecycle;
    let replaced = lifecycle
        .replace_tls(&world.admin, &world.this().await, ca.one_way().into(), Handling::Lenient, None)
        .await;
    assert!(matches!(replaced, Err(TlsError::NotFound)));
    assert!(matches!(
        lifecycle.delete_tls(&world.admin, &world.this().await, None).await,
        Err(TlsError::NotFound)
    ));

    world.create(ca.one_way()).await;
    let again =
        lifecycle.create_tls(&world.admin, &world.this().await, ca.one_way().into(), Handling::Lenient).await;
    assert!(matches!(again, Err(TlsError::AlreadyExists)));

    world.delete().await;
    let replaced = lifecycle
        .replace_tls(&world.admin, &world.this().await, ca.one_way().into(), Handling::Lenient, None)
        .await;
    assert!(matches!(replaced, Err(TlsError::NotFound)), "a deletion under way counts as no certificate");
    assert!(matches!(
        lifecycle.delete_tls(&world.admin, &world.this().await, None).await,
        Err(TlsError::NotFound)
    ));
    world.create(ca.one_way()).await;
    assert_eq!(world.status().await, "pending", "POST supersedes the deletion");
}

#[tokio::test]
async fn a_renewal_can_keep_the_type_and_the_client_cas() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let (a, b) = (Authority::new("A"), Authority::new("B"));
    let refused = world
        .lifecycle
        .create_tls(&world.admin, &world.this().await, ca.keep().into(), Handling::Lenient)
        .await;
    let Err(TlsError::Refused(findings)) = refused else { panic!("{refused:?}") };
    assert_eq!(findings[0].code, Code::TlsTypeInvalid, "a first upload says what it is");

    world.create(ca.two_way(&[&a, &b])).await;
    let scope = world.trust_scope().await;
    assert_eq!(world.replace(ca.keep()).await.tls_type, TlsType::TwoWay);
    assert_eq!(world.client_cas().await, [a.der(), b.der()]);
    assert_eq!(world.trust_scope().await, scope, "tickets stay valid");

    world.replace(ca.one_way()).await;
    assert_eq!(world.replace(ca.keep()).await.tls_type, TlsType::OneWay);
    assert!(world.client_cas().await.is_empty());

    world.delete().await;
    let refused = world
        .lifecycle
        .create_tls(&world.admin, &world.this().await, ca.keep().into(), Handling::Lenient)
        .await;
    assert!(matches!(refused, Err(TlsError::Refused(_))), "nor is that of a deleted one kept");
}

#[tokio::test]
async fn a_refused_upload_leaves_everything_as_it_was() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let node = world.join("node-a").await;
    world.create(ca.one_way()).await;
    world.report(&node, Ok(())).await;
    let before = world.deployment().await;

    let mut foreign_key = ca.one_way();
    foreign_key.key = ca.one_way().key;
    let refused = world
        .lifecycle
        .replace_tls(&world.admin, &world.this().await, foreign_key.into(), Handling::Lenient, None)
        .await;
    let Err(TlsError::Refused(findings)) = refused else { panic!("{refused:?}") };
    assert_eq!(findings[0].code, Code::KeyMismatch);

    *world.gateway.refusal.lock().unwrap() = Some("the key size is not supported".into());
    let refused = world
        .lifecycle
        .replace_tls(&world.admin, &world.this().await, ca.one_way().into(), Handling::Lenient, None)
        .await;
    let Err(TlsError::Refused(findings)) = refused else { panic!("{refused:?}") };
    assert_eq!(findings[0].code, Code::NotServable, "what the rehearsal refuses is refused first");

    assert_eq!(world.deployment().await, before);
}

#[tokio::test]
async fn running_needs_every_node_that_is_counted() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let (a, b) = (world.join("node-a").await, world.join("node-b").await);
    world.create(ca.one_way()).await;
    world.report(&a, Ok(())).await;
    assert_eq!(world.status().await, "pending");
    let c = world.join("node-c").await;
    world.report(&b, Ok(())).await;
    assert_eq!(world.status().await, "pending", "who joins while it is pending is counted");
    world.report(&c, Ok(())).await;
    assert_eq!(world.status().await, "running");
}

#[tokio::test]
async fn each_upload_is_measured_once_from_its_acceptance_to_running() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let mut registry = prometheus_client::registry::Registry::default();
    world.lifecycle.register_metrics(&mut registry);
    let measured = |count: u64, seconds: f64| {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let name = "certward_change_to_running_seconds";
        let lines = format!("{name}_sum {seconds:?}\n{name}_count {count}\n");
        assert!(text.contains(&lines), "{text}");
    };
    let (a, b) = (world.join("node-a").await, world.join("node-b").await);
    measured(0, 0.0);
    world.create(ca.one_way()).await;
    world.clock.advance(Duration::from_secs(3));
    world.report(&a, Ok(())).await;
    measured(0, 0.0);
    world.report(&b, Ok(())).await;
    measured(1, 3.0);

    world.replace(ca.one_way()).await;
    world.clock.advance(Duration::from_secs(2));
    world.report(&a, Ok(())).await;
    // The last missing node leaves.
    world.lifecycle.leave(&b.id, b.session).await.unwrap();
    assert_eq!(world.status().await, "running");
    measured(2, 5.0);

    // Proven again, long after its acceptance.
    world.clock.advance(Duration::from_secs(3600));
    let hosts = ["ge6a1a75.example.com", "other.example.com"].map(|name| HostName::parse(name).unwrap());
    let patch = DeploymentPatch { hosts: Some(hosts.into()), ..DeploymentPatch::default() };
    world.lifecycle.change_deployment(&world.admin, &world.this().await, patch).await.unwrap();
    assert_eq!(world.status().await, "pending");
    world.report(&a, Ok(())).await;
    assert_eq!(world.status().await, "running");
    measured(2, 5.0);
}

#[tokio::test]
async fn a_process_proves_again_what_an_earlier_one_of_its_node_has_proven_of_an_unsettled_change() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let (a, b) = (world.join("node-a").await, world.join("node-b").await);
    world.create(ca.one_way()).await;
    world.report(&a, Ok(())).await;
    let next = world.restart(&a).await;
    world.report(&b, Ok(())).await;
    assert_eq!(world.status().await, "pending", "the process that had proven it is gone");
    world.report(&a, Ok(())).await;
    assert_eq!(world.status().await, "pending", "and what it says late is void");
    world.report(&next, Ok(())).await;
    assert_eq!(world.status().await, "running");
    world.restart(&next).await;
    assert_eq!(world.status().await, "running", "a restart keeps what is settled");
}

#[tokio::test]
async fn of_leases_that_end_together_none_proves_anything_any_more() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    world.join("node-a").await;
    let b = world.join("node-b").await;
    world.create(ca.one_way()).await;
    world.report(&b, Ok(())).await;
    world.clock.advance(Duration::from_secs(15));
    world.lifecycle.sweep().await.unwrap();
    assert_eq!(world.status().await, "pending", "nobody counts, so nobody has proven it");
}

#[tokio::test]
async fn a_node_whose_lease_ends_is_not_waited_for() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let (a, b) = (world.join("node-a").await, world.join("node-b").await);
    world.create(ca.one_way()).await;
    world.report(&a, Ok(())).await;
    world.clock.advance(Duration::from_secs(10));
    assert!(world.renew(&a).await);
    world.clock.advance(Duration::from_secs(6));
    world.lifecycle.sweep().await.unwrap();
    assert_eq!(world.status().await, "running", "node-b was silent for 16 s");

    world.delete().await;
    assert_eq!(world.status().await, "terminated");
    world.leave(&a).await;
    assert_eq!(world.status().await, "absent", "the last holder has left");
    let _ = b;
}

#[tokio::test]
async fn without_a_live_node_a_change_stays_pending_and_a_deletion_is_over_at_once() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    world.create(ca.one_way()).await;
    world.clock.advance(Duration::from_secs(3600));
    world.lifecycle.sweep().await.unwrap();
    assert_eq!(world.status().await, "pending");

    let node = world.join("node-a").await;
    world.lifecycle.sweep().await.unwrap();
    assert_eq!(world.status().await, "pending", "a node that has just joined is given its time");
    world.report(&node, Ok(())).await;
    assert_eq!(world.status().await, "running");

    world.leave(&node).await;
    world.delete().await;
    assert_eq!(world.status().await, "absent");
}

#[tokio::test]
async fn what_is_not_proven_in_time_fails_with_the_reason_and_may_still_be_proven() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let node = world.join("node-a").await;
    world.create(ca.one_way()).await;
    world.report(&node, not_proven("the listener is down")).await;
    assert_eq!(world.status().await, "pending", "the node goes on trying");
    for _ in 0..6 {
        world.clock.advance(Duration::from_secs(10));
        assert!(world.renew(&node).await);
        world.lifecycle.sweep().await.unwrap();
    }
    assert_eq!(world.status().await, "failed: the listener is down");
    world.report(&node, not_proven("the handshake timed out")).await;
    assert_eq!(world.status().await, "failed: the handshake timed out", "the newest reason is told");
    world.report(&node, Ok(())).await;
    assert_eq!(world.status().await, "running");
}

#[tokio::test]
async fn without_an_entry_point_it_fails_at_once_until_there_is_one() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let node = world.join("node-a").await;
    world.create(ca.one_way()).await;
    world.report(&node, Err(ProofFailure::NoEntryPoint(NoEntryPoint::NoHost))).await;
    assert!(world.status().await.starts_with("failed: no device can reach the deployment"));

    let hosts = Some(vec![HostName::parse("other.example.com").unwrap()]);
    let change = DeploymentPatch { hosts, ..DeploymentPatch::default() };
    world.lifecycle.change_deployment(&world.admin, &world.this().await, change).await.unwrap();
    assert_eq!(world.status().await, "pending", "new hosts are proven anew");
    world.report(&node, Ok(())).await;
    assert_eq!(world.status().await, "running");
}

#[tokio::test]
async fn another_broker_address_needs_no_new_proof_and_another_name_does() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let node = world.join("node-a").await;
    world.create(ca.one_way()).await;
    world.report(&node, Ok(())).await;
    let before = world.generation().await;

    let upstream = Some(certward_store::UpstreamList::parse("127.0.0.1:2883").unwrap());
    let change = DeploymentPatch { upstream, ..DeploymentPatch::default() };
    world.lifecycle.change_deployment(&world.admin, &world.this().await, change.clone()).await.unwrap();
    assert_eq!(world.status().await, "running");
    assert!(world.generation().await > before, "the nodes must hear of it");

    let unchanged = world.generation().await;
    world.lifecycle.change_deployment(&world.admin, &world.this().await, change).await.unwrap();
    assert_eq!(world.generation().await, unchanged, "the same again is no change");
}

#[tokio::test]
async fn a_report_of_an_older_generation_is_ignored() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let node = world.join("node-a").await;
    world.create(ca.one_way()).await;
    let old = world.generation().await;
    world.replace(ca.one_way()).await;
    world.report_on(&node, old, Ok(())).await;
    assert_eq!(world.status().await, "pending");
    let stranger = Member { id: NodeId::parse("stranger").unwrap(), session: support::session() };
    world.report(&stranger, Ok(())).await;
    assert_eq!(world.status().await, "pending", "a node that is not counted proves nothing");
}

#[tokio::test]
async fn a_proof_that_fails_later_leaves_running_as_it_is() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let node = world.join("node-a").await;
    world.create(ca.one_way()).await;
    world.report(&node, Ok(())).await;
    world.report(&node, not_proven("the listener is down")).await;
    assert_eq!(world.status().await, "running");
}

#[tokio::test]
async fn the_trust_scope_is_kept_while_each_trusted_client_stays_trusted() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let (one, two) = (Authority::new("Clients 1"), Authority::new("Clients 2"));
    let scope = async || {
        let (_, certificate) =
            assignment_in(&world.lifecycle.store().read(), &world.id).await.unwrap().unwrap();
        certificate.unwrap().newest.trust_scope
    };
    world.create(ca.one_way()).await;
    let mut before = scope().await;
    let steps = [
        ("only the leaf", ca.one_way(), true),
        ("one-way to two-way", ca.two_way(&[&one]), false),
        ("only the leaf, two-way", ca.two_way(&[&one]), true),
        ("a CA more", ca.two_way(&[&one, &two]), true),
        ("the CAs in another order", ca.two_way(&[&two, &one]), true),
        ("a CA less", ca.two_way(&[&two]), false),
        ("one CA for another", ca.two_way(&[&one]), false),
        ("two-way to one-way", ca.one_way(), false),
    ];
    for (step, upload, kept) in steps {
        world.replace(upload).await;
        let after = scope().await;
        assert_eq!(after == before, kept, "{step}");
        before = after;
    }
    world.delete().await;
    world.create(ca.one_way()).await;
    assert_ne!(scope().await, before, "created anew");
}

#[tokio::test]
async fn a_node_falls_back_to_what_was_proven_unless_trust_would_be_wider() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let clients = Authority::new("Clients");
    let node = world.join("node-a").await;
    let fallback = async || {
        let (_, certificate) =
            assignment_in(&world.lifecycle.store().read(), &world.id).await.unwrap().unwrap();
        certificate.unwrap().fallback.map(|version| version.version)
    };
    world.create(ca.one_way()).await;
    assert_eq!(fallback().await, None);
    world.report(&node, Ok(())).await;
    let first = world.generation().await;
    world.replace(ca.one_way()).await;
    assert_eq!(fallback().await, Some(first.into()));
    world.replace(ca.one_way()).await;
    assert_eq!(fallback().await, Some(first.into()), "what was never proven is no fallback");
    world.replace(ca.two_way(&[&clients])).await;
    assert_eq!(fallback().await, None, "one-way would admit whom two-way must refuse");
    world.delete().await;
    let (_, certificate) = assignment_in(&world.lifecycle.store().read(), &world.id).await.unwrap().unwrap();
    assert_eq!(certificate, None);
    world.create(ca.one_way()).await;
    assert_eq!(fallback().await, None, "the keys of before are erased");
}

#[tokio::test]
async fn stored_material_comes_back_as_it_was_accepted() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let clients = Authority::new("Clients");
    world.create(ca.two_way(&[&clients])).await;
    let (_, certificate) = assignment_in(&world.lifecycle.store().read(), &world.id).await.unwrap().unwrap();
    let newest = certificate.unwrap().newest;
    let store = world.lifecycle.store().read();
    let material = material_in(&store, &newest).await.unwrap();
    assert_eq!(material.bundle.leaf().as_ref(), newest.chain[0]);
    assert_eq!(material.client_trust.unwrap().anchors().len(), 1);

    let mut mixed = newest.clone();
    mixed.client_cas.clear();
    assert!(material_in(&store, &mixed).await.is_err(), "two-way without CAs is never one-way");
}

#[tokio::test]
async fn waiting_ends_when_the_status_settles_or_the_time_is_over() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let node = world.join("node-a").await;
    world.create(ca.one_way()).await;
    let deployment = world.deployment().await;
    let view = world.lifecycle.tls_settled(&deployment, Duration::from_millis(20)).await.unwrap().unwrap();
    assert!(matches!(view, TlsView::Set(view) if support::status_of(&view) == "pending"));

    let waiting = world.lifecycle.tls_settled(&deployment, Duration::from_secs(30));
    let (view, ()) = tokio::join!(waiting, world.report(&node, Ok(())));
    assert!(matches!(view.unwrap().unwrap(), TlsView::Set(view) if support::status_of(&view) == "running"));

    world.lifecycle.remove_deployment(&world.admin, &world.this().await).await.unwrap();
    let gone = world.lifecycle.tls_settled(&deployment, Duration::from_secs(30)).await.unwrap();
    assert_eq!(gone, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_that_is_removed_while_it_is_read_is_gone_and_never_damage() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let deployment = world.deployment().await;
    let reading = tokio::spawn({
        let (lifecycle, deployment) = (world.lifecycle.clone(), deployment.clone());
        async move {
            // Enough to meet a removal between two reads; nothing depends on it.
            for _ in 0..2000 {
                lifecycle.tls(&deployment).await.unwrap();
                assignment_in(&lifecycle.store().read(), &deployment.id).await.unwrap();
            }
        }
    });
    while !reading.is_finished() {
        world.create(ca.one_way()).await;
        world.lifecycle.remove_deployment(&world.admin, &world.this().await).await.unwrap();
        world.lifecycle.create_deployment(&world.admin, world.new_deployment("ge6a1a75")).await.unwrap();
    }
    reading.await.unwrap();
}

#[tokio::test]
async fn a_deployment_of_the_same_id_in_another_project_is_not_shown() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let before = world.deployment().await;
    world.lifecycle.remove_deployment(&world.admin, &world.this().await).await.unwrap();
    let other = ProjectId::parse("other").unwrap();
    world
        .lifecycle
        .create_project(
            &world.admin,
            Some(other.clone()),
            String::new(),
            String::new(),
            certward_store::Boundary::default(),
        )
        .await
        .unwrap();
    let elsewhere = NewDeployment { project: Some(other), ..world.new_deployment("ge6a1a75") };
    world.lifecycle.create_deployment(&world.admin, elsewhere).await.unwrap();
    world.create(ca.one_way()).await;
    assert_eq!(world.lifecycle.tls(&before).await.unwrap(), None);
    assert_eq!(world.lifecycle.tls_settled(&before, Duration::from_secs(30)).await.unwrap(), None);
}

#[tokio::test]
async fn a_check_says_what_an_upload_would_meet_and_stores_nothing() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let before = world.deployment().await;
    let judgement = world
        .lifecycle
        .check_tls(&world.admin, &before, ca.one_way().into(), Handling::Lenient)
        .await
        .unwrap()
        .judgement;
    assert!(judgement.material.is_some());
    let mut unknown = ca.one_way();
    unknown.tls_type = given("three-way");
    let judgement = world
        .lifecycle
        .check_tls(&world.admin, &before, unknown.into(), Handling::Lenient)
        .await
        .unwrap()
        .judgement;
    assert!(judgement.material.is_none());
    assert_eq!(judgement.findings[0].code, Code::TlsTypeInvalid);
    assert_eq!(world.deployment().await, before);
    assert_eq!(before.tls, TlsState::Absent);
    assert!(before.generation > Generation(0));
}

#[tokio::test]
async fn a_self_signed_leaf_over_an_issued_one_is_a_warning_also_of_a_check() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let codes =
        |findings: &[certward_pki::Finding]| findings.iter().map(|finding| finding.code).collect::<Vec<_>>();
    let missing = Code::MissingIntermediate;
    assert_eq!(codes(&world.create(ca.one_way()).await.warnings), [missing]);
    let check = async || {
        let now = world.deployment().await;
        world
            .lifecycle
            .check_tls(&world.admin, &now, self_signed().into(), Handling::Lenient)
            .await
            .unwrap()
            .judgement
    };
    assert_eq!(codes(&check().await.findings), [Code::SelfSignedOverIssued]);
    assert_eq!(codes(&world.replace(self_signed()).await.warnings), [Code::SelfSignedOverIssued]);
    assert_eq!(codes(&check().await.findings), []);
}
