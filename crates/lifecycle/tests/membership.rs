//! Counted nodes and accepted reports: single cases of what the model tries at random.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod support;

use certward_lifecycle::{AwaitedNodes, Member, Observation, Withdrawal};
use certward_store::{FeedPosition, Generation, NodeId, NodeProcess, Role};
use support::{Authority, Uploads, World, not_proven, session, settings};

#[tokio::test]
async fn a_lease_that_has_run_out_counts_until_it_is_swept() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let (a, b) = (world.join("node-a").await, world.join("node-b").await);
    world.clock.advance(settings().lease * 2);
    world.create(ca.one_way()).await;
    assert!(world.renew(&a).await, "late, and in time");
    world.report(&a, Ok(())).await;
    assert_eq!(world.status().await, "pending", "node-b counts as well: it may renew at this moment");
    world.lifecycle.sweep().await.unwrap();
    assert_eq!(world.status().await, "running");
    assert!(!world.renew(&b).await, "its lease is over");
}

#[tokio::test]
async fn a_change_names_the_nodes_that_it_waits_for_and_those_left_out() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let node = |id: &str| NodeId::parse(id).unwrap();
    for (id, role) in [("lost", Role::Gateway), ("lost-without-gateway", Role::Api)] {
        let process = NodeProcess { role, version: "1.2.3" };
        world.lifecycle.store().record_process(&node(id), process, None).await.unwrap();
    }
    world.clock.advance(settings().lease * 2);
    let (a, b) = (world.join("node-a").await, world.join("node-b").await);
    let awaited = async || world.lifecycle.awaited_nodes(&world.id).await.unwrap();
    let of = |nodes: &[&Member]| AwaitedNodes {
        waiting_for: nodes.iter().map(|member| member.id.clone()).collect(),
        left_out: vec![node("lost")],
    };
    world.create(ca.one_way()).await;
    assert_eq!(awaited().await, of(&[&a, &b]));
    world.report(&b, Ok(())).await;
    assert_eq!(awaited().await, of(&[&a]));
    world.replace(ca.one_way()).await;
    assert_eq!(awaited().await, of(&[&a, &b]), "what was proven before does not count");
    world.report(&a, Ok(())).await;
    world.report(&b, not_proven("no")).await;
    assert_eq!(awaited().await, of(&[&b]));
    world.report(&b, Ok(())).await;
    assert_eq!(awaited().await, of(&[]));
}

#[tokio::test]
async fn a_node_counts_again_only_when_it_has_carried_out_the_newest_row() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let (a, b) = (world.join("node-a").await, world.join("node-b").await);
    world.clock.advance(settings().lease * 2);
    assert!(world.renew(&a).await);
    world.lifecycle.sweep().await.unwrap();
    world.create(ca.one_way()).await;
    let (lifecycle, store) = (&world.lifecycle, world.lifecycle.store());
    let newest = store.read_as_member().newest_position().await.unwrap();
    let asked = async |carried_out: bool| {
        let mut held = None;
        let fresh = Member { id: b.id.clone(), session: session() };
        let joined = lifecycle
            .join(&fresh.id, fresh.session, |row| {
                held = Some(row);
                async move { carried_out }
            })
            .await
            .unwrap();
        assert_eq!((held, joined), (Some(newest), carried_out));
        fresh
    };
    let refused = asked(false).await;
    assert_eq!(store.nodes().await.unwrap().len(), 1, "a refusal leaves no trace");
    world.report(&refused, Ok(())).await;
    world.report(&b, Ok(())).await;
    let b = asked(true).await;
    assert_eq!(store.read_as_member().unproven(&b.id).await.unwrap(), std::slice::from_ref(&world.id));
    world.report(&a, Ok(())).await;
    assert_eq!(world.status().await, "pending", "who joins while it is pending is counted");
    world.report(&b, Ok(())).await;
    assert_eq!(world.status().await, "running");
    assert!(store.read_as_member().unproven(&b.id).await.unwrap().is_empty());
    assert!(world.renew(&b).await);
}

#[tokio::test]
async fn a_late_report_of_an_earlier_session_changes_nothing() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let old = world.join("node-a").await;
    world.create(ca.one_way()).await;
    let new = world.restart(&old).await;
    world.report(&old, Ok(())).await;
    assert_eq!(world.status().await, "pending", "its process is gone");
    assert!(!world.renew(&old).await);
    world.leave(&old).await;
    assert!(world.renew(&new).await, "the row is the new one's");
    // Each join is a new session.
    let again = world.join("node-a").await;
    world.report(&new, Ok(())).await;
    assert_eq!(world.status().await, "pending");
    world.report(&again, Ok(())).await;
    assert_eq!(world.status().await, "running");
}

#[tokio::test]
async fn a_report_of_what_was_loaded_from_another_history_is_void() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let node = world.join("node-a").await;
    world.create(ca.one_way()).await;
    let row = world.lifecycle.store().read_as_member().newest_position().await.unwrap();
    let generation = world.generation().await;
    let beyond = FeedPosition { generation: Generation(row.generation.0 + 1), nonce: 1 };
    for (as_of, expected) in
        [(FeedPosition { nonce: row.nonce ^ 1, ..row }, "pending"), (beyond, "pending"), (row, "running")]
    {
        let observation = Observation { id: &world.id, generation, as_of };
        world.lifecycle.report(&node, &observation, Ok(())).await.unwrap();
        assert_eq!(world.status().await, expected, "{as_of:?}");
    }
}

/// The result, and the session after it.
async fn withdraw(world: &World, node: &Member, generation: Generation) -> (Withdrawal, Member) {
    let as_of = world.lifecycle.store().read_as_member().newest_position().await.unwrap();
    let observation = Observation { id: &world.id, generation, as_of };
    let fresh = session();
    let outcome = world.lifecycle.withdraw(node, fresh, &observation, "the key does not open").await.unwrap();
    let session = if outcome == Withdrawal::Done { fresh } else { node.session };
    (outcome, Member { session, ..node.clone() })
}

#[tokio::test]
async fn what_a_counted_node_cannot_serve_any_more_is_failed_until_all_have_proven_it_again() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let (a, b) = (world.join("node-a").await, world.join("node-b").await);
    world.create(ca.one_way()).await;
    for node in [&a, &b] {
        world.report(node, Ok(())).await;
    }
    let before = world.generation().await;
    let (outcome, withdrawn) = withdraw(&world, &a, before).await;
    assert_eq!(outcome, Withdrawal::Done);
    assert_eq!(
        world.status().await,
        "failed: the node node-a cannot serve it any more: the key does not open"
    );
    assert!(world.generation().await > before, "every node hears of it, and proves it again");
    world.report(&b, Ok(())).await;
    world.report(&a, Ok(())).await;
    assert!(world.status().await.starts_with("failed"), "a report that was under way comes too late");
    world.report(&withdrawn, not_proven("the key does not open")).await;
    assert_eq!(world.status().await, "failed: the key does not open");
    world.report(&withdrawn, Ok(())).await;
    assert_eq!(world.status().await, "running", "it could be served after all");
}

#[tokio::test]
async fn a_withdrawal_is_allowed_to_the_node_of_the_row_or_where_there_is_none() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let stranger = Member { id: certward_store::NodeId::parse("stranger").unwrap(), session: session() };
    let a = world.join("node-a").await;
    world.create(ca.one_way()).await;
    let generation = world.generation().await;
    assert_eq!(withdraw(&world, &stranger, generation).await.0, Withdrawal::NotCounted);
    assert_eq!(withdraw(&world, &a, Generation(generation.0 - 1)).await.0, Withdrawal::Outdated);
    let other = Member { session: session(), ..a.clone() };
    assert_eq!(withdraw(&world, &other, generation).await.0, Withdrawal::AnotherSession);
    assert_eq!(world.status().await, "pending", "nothing was done");

    // Unless `running`, only its own proof is withdrawn.
    world.report(&a, not_proven("not yet")).await;
    let (outcome, a) = withdraw(&world, &a, generation).await;
    assert_eq!((outcome, world.generation().await), (Withdrawal::Done, generation));
    assert_eq!(world.status().await, "pending");
    world.report(&a, Ok(())).await;
    assert_eq!(world.status().await, "running");
}
