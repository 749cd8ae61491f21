use std::time::Duration;

use certward_store::{
    DeploymentId, Generation, Lease, NodeProcess, NodeRecord, RequiredProof, Role, Session, Timestamp,
    TlsState, VersionId,
};

use crate::{
    on_both_engines,
    world::{World, id, node},
};

on_both_engines![
    a_node_that_joins_is_counted_for_all_that_is_unsettled,
    a_renewal_counts_nothing_and_a_return_does,
    a_change_counts_every_node_that_has_a_row,
    a_lease_that_has_run_out_counts_until_a_sweep_ends_it,
    a_renewal_or_leave_of_another_session_is_void,
    a_new_session_takes_back_what_was_proven,
    proofs_are_noted_of_counted_nodes_only_and_never_go_back,
    a_node_that_leaves_is_counted_nowhere,
    leases_that_have_run_out_are_ended_and_a_renewed_one_is_not,
    a_node_that_joins_during_a_change_is_counted_for_it,
    counts_of_removed_deployments_are_pruned,
    a_process_that_was_heard_of_is_listed_and_counted_by_nothing,
    a_process_is_listed_until_it_ends_or_is_silent_for_an_hour,
];

const MINUTE: Duration = Duration::from_secs(60);

async fn set_tls(world: &World, name: &DeploymentId, tls: TlsState) {
    let mut tx = world.begin().await;
    tx.set_tls(name, Generation(1), &tls).await.expect("written");
    tx.commit().await.expect("committed");
}

async fn leases(world: &World) -> Vec<Lease> {
    world.store.nodes().await.expect("read").into_iter().filter_map(|node| node.lease).collect()
}

async fn counted(world: &World, name: &DeploymentId) -> Vec<(String, i64)> {
    let counts = world.store.read().counts(name).await.expect("read");
    counts.into_iter().map(|count| (count.node.to_string(), count.proven.0)).collect()
}

async fn a_node_that_joins_is_counted_for_all_that_is_unsettled(world: World) {
    let version = Generation(1);
    let states = [
        ("absent", TlsState::Absent, false),
        ("pending", TlsState::Pending { version: version.into(), deadline: Timestamp(1) }, true),
        ("running", TlsState::Running { version: version.into() }, false),
        ("failed", TlsState::Failed { version: version.into(), reason: "r".into() }, true),
        ("terminated", TlsState::Terminated, true),
    ];
    for (name, tls, _) in &states {
        let made = world.deployment(name).await;
        set_tls(&world, &made.id, tls.clone()).await;
    }
    world.join(&node("n1"), world.later(MINUTE).await).await;
    for (name, _, counts) in states {
        let expected = if counts { vec![("n1".to_owned(), 0)] } else { vec![] };
        assert_eq!(counted(&world, &id(name)).await, expected, "{name}");
    }
    let live = leases(&world).await;
    assert_eq!(live.len(), 1);
    assert!(live[0].since <= world.store.now().await.expect("the time"));
}

async fn a_renewal_counts_nothing_and_a_return_does(world: World) {
    let made = world.deployment("a").await;
    world.join(&node("n1"), world.later(MINUTE).await).await;
    set_tls(&world, &made.id, TlsState::Terminated).await;
    let before = leases(&world).await[0];
    assert!(world.store.renew_lease(&node("n1"), Session(1), 2 * MINUTE).await.expect("renewed"));
    assert!(counted(&world, &made.id).await.is_empty());
    let after = leases(&world).await[0];
    assert!(after.until > before.until && after.since == before.since);
    world.join(&node("n1"), world.later(MINUTE).await).await;
    assert_eq!(counted(&world, &made.id).await, [("n1".to_owned(), 0)]);
}

async fn a_change_counts_every_node_that_has_a_row(world: World) {
    let a = world.deployment("a").await.id;
    for name in ["n1", "n2", "gone"] {
        world.join(&node(name), world.later(MINUTE).await).await;
    }
    let mut tx = world.begin().await;
    assert_eq!(tx.count_nodes(&a).await.expect("counted"), 3);
    tx.record_proof(&a, &node("n1"), Ok(Generation(4))).await.expect("noted");
    tx.commit().await.expect("committed");
    let mut tx = world.begin().await;
    tx.hold_nodes().await.expect("held");
    tx.leave(&node("gone"), Session(1)).await.expect("left");
    assert_eq!(tx.count_nodes(&a).await.expect("counted"), 2);
    tx.commit().await.expect("committed");
    assert_eq!(counted(&world, &a).await, [("n1".to_owned(), 0), ("n2".to_owned(), 0)]);
}

/// A late renewal may arrive until a sweep ends the lease: changes wait until then.
async fn a_lease_that_has_run_out_counts_until_a_sweep_ends_it(world: World) {
    let a = world.deployment("a").await.id;
    world.join(&node("n1"), world.earlier().await).await;
    let mut tx = world.begin().await;
    assert_eq!(tx.count_nodes(&a).await.expect("counted"), 1, "time decides nothing");
    tx.commit().await.expect("committed");
    set_tls(&world, &a, TlsState::Terminated).await;
    assert!(
        world.store.renew_lease(&node("n1"), Session(1), MINUTE).await.expect("renewed"),
        "late, and in time"
    );
    assert_eq!(counted(&world, &a).await, [("n1".to_owned(), 0)]);

    world.join(&node("n1"), world.earlier().await).await;
    let mut tx = world.begin().await;
    assert_eq!(tx.end_expired().await.expect("ended"), [(node("n1"), vec![a.clone()])]);
    tx.commit().await.expect("committed");
    assert!(!world.store.renew_lease(&node("n1"), Session(1), MINUTE).await.expect("answered"), "too late");
    assert!(leases(&world).await.is_empty() && counted(&world, &a).await.is_empty());
}

async fn a_renewal_or_leave_of_another_session_is_void(world: World) {
    let n1 = node("n1");
    world.join_as(&n1, Session(1), world.later(MINUTE).await).await;
    world.join_as(&n1, Session(2), world.later(MINUTE).await).await;
    let renew = async |session| world.store.renew_lease(&n1, session, MINUTE).await.expect("answered");
    assert!(!renew(Session(1)).await);
    assert!(renew(Session(2)).await);
    let mut tx = world.begin().await;
    tx.hold_nodes().await.expect("held");
    tx.leave(&n1, Session(1)).await.expect("nothing to do");
    assert_eq!(tx.session(&n1).await.expect("read"), Some(Session(2)));
    tx.leave(&n1, Session(2)).await.expect("left");
    assert_eq!(tx.session(&n1).await.expect("read"), None);
    tx.set_session(&n1, Session(3)).await.expect("nothing to do");
    assert_eq!(tx.session(&n1).await.expect("read"), None, "a session alone makes no row");
}

async fn a_new_session_takes_back_what_was_proven(world: World) {
    let (n1, n2) = (node("n1"), node("n2"));
    let unsettled = world.deployment("a").await.id;
    let settled = world.deployment("b").await.id;
    for name in [&n1, &n2] {
        world.join(name, world.later(MINUTE).await).await;
    }
    set_tls(&world, &unsettled, TlsState::Terminated).await;
    set_tls(&world, &settled, TlsState::Running { version: VersionId(1) }).await;
    let prove = async || {
        let mut tx = world.begin().await;
        for id in [&unsettled, &settled] {
            tx.count_nodes(id).await.expect("counted");
            for name in [&n1, &n2] {
                tx.record_proof(id, name, Ok(Generation(9))).await.expect("noted");
            }
        }
        tx.commit().await.expect("committed");
    };
    let expected = |proven| [("n1".to_owned(), proven), ("n2".to_owned(), 9)];
    prove().await;
    world.join_as(&n1, Session(2), world.later(MINUTE).await).await;
    assert_eq!(counted(&world, &unsettled).await, expected(0), "it joins");
    assert_eq!(counted(&world, &settled).await, expected(9), "nobody asks");
    prove().await;
    let mut tx = world.begin().await;
    tx.hold_nodes().await.expect("held");
    tx.set_session(&n1, Session(3)).await.expect("written");
    tx.forget_proofs(&n1).await.expect("written");
    tx.commit().await.expect("committed");
    assert_eq!(counted(&world, &unsettled).await, expected(0), "a new process");
    prove().await;
    let mut tx = world.begin().await;
    tx.forget_proof(&unsettled, &n1).await.expect("written");
    tx.commit().await.expect("committed");
    assert_eq!(counted(&world, &unsettled).await, expected(0), "a withdrawal");
}

async fn proofs_are_noted_of_counted_nodes_only_and_never_go_back(world: World) {
    let a = world.deployment("a").await.id;
    world.join(&node("n1"), world.later(MINUTE).await).await;
    let mut tx = world.begin().await;
    tx.count_nodes(&a).await.expect("counted");
    let stranger = node("n9");
    tx.record_proof(&a, &stranger, Ok(Generation(9))).await.expect("noted");
    let steps = [
        (Err("it \0 refuses".to_owned()), 0, Some("it \u{fffd} refuses")),
        (Ok(Generation(5)), 5, None),
        (Ok(Generation(4)), 5, None),
        (Err("again".to_owned()), 5, Some("again")),
        // A late report clears no newer fault.
        (Ok(Generation(4)), 5, Some("again")),
        (Ok(Generation(6)), 6, None),
    ];
    for (proof, proven, reason) in steps {
        tx.record_proof(&a, &node("n1"), proof.clone()).await.expect("noted");
        let expected = RequiredProof {
            deployment: a.clone(),
            node: node("n1"),
            proven: Generation(proven),
            reason: reason.map(str::to_owned),
        };
        assert_eq!(tx.counts(&a).await.expect("read"), [expected], "after {proof:?}");
    }
}

async fn a_node_that_leaves_is_counted_nowhere(world: World) {
    let version = Generation(1);
    for node_name in ["n1", "n2"] {
        world.join(&node(node_name), world.later(MINUTE).await).await;
    }
    for (name, tls) in [("a", TlsState::Terminated), ("b", TlsState::Running { version: version.into() })] {
        let made = world.deployment(name).await;
        let mut tx = world.begin().await;
        tx.count_nodes(&made.id).await.expect("counted");
        tx.commit().await.expect("committed");
        set_tls(&world, &made.id, tls).await;
    }
    let mut tx = world.begin().await;
    tx.hold_nodes().await.expect("held");
    let leave = Session(1);
    assert_eq!(tx.leave(&node("n1"), leave).await.expect("left"), [id("a")], "the unsettled ones");
    assert!(tx.leave(&node("n1"), leave).await.expect("left").is_empty(), "a second time does nothing");
    tx.commit().await.expect("committed");
    assert_eq!(counted(&world, &id("a")).await, [("n2".to_owned(), 0)]);
    // Not queried until pruned.
    world.store.prune(MINUTE).await.expect("pruned");
    assert_eq!(counted(&world, &id("b")).await, [("n2".to_owned(), 0)]);
    assert_eq!(leases(&world).await.len(), 1);
}

async fn leases_that_have_run_out_are_ended_and_a_renewed_one_is_not(world: World) {
    for name in ["old", "renewed"] {
        world.join(&node(name), world.earlier().await).await;
    }
    world.join(&node("new"), world.later(MINUTE).await).await;
    world.store.renew_lease(&node("renewed"), Session(1), MINUTE).await.expect("renewed");
    let mut tx = world.begin().await;
    assert_eq!(tx.end_expired().await.expect("ended"), [(node("old"), vec![])]);
    assert!(tx.end_expired().await.expect("ended").is_empty());
    tx.commit().await.expect("committed");
    assert_eq!(leases(&world).await.len(), 2);
}

/// Tries both orders: the change sees the node, or the node sees the change.
async fn a_node_that_joins_during_a_change_is_counted_for_it(world: World) {
    let a = world.deployment("a").await.id;
    for round in 0..10 {
        set_tls(&world, &a, TlsState::Absent).await;
        let name = node(&format!("n{round}"));
        let until = world.later(MINUTE).await;
        let (store, joining) = (world.store.clone(), name.clone());
        let join = tokio::spawn(async move {
            let mut tx = store.begin().await.expect("a transaction");
            tx.hold_nodes().await.expect("held");
            tx.join(&joining, Session(1), until).await.expect("joined");
            tx.commit().await.expect("committed");
        });
        let (store, changing) = (world.store.clone(), a.clone());
        let change = tokio::spawn(async move {
            let mut tx = store.begin().await.expect("a transaction");
            tx.deployment(&changing).await.expect("read").expect("there");
            let generation = tx.draw_generation(&changing).await.expect("a generation");
            tx.count_nodes(&changing).await.expect("counted");
            let tls = TlsState::Pending { version: generation.into(), deadline: Timestamp(i64::MAX) };
            tx.set_tls(&changing, generation, &tls).await.expect("written");
            tx.commit().await.expect("committed");
        });
        join.await.expect("no panic");
        change.await.expect("no panic");
        assert!(counted(&world, &a).await.contains(&(name.to_string(), 0)), "round {round}");
    }
}

async fn counts_of_removed_deployments_are_pruned(world: World) {
    let a = world.deployment("a").await.id;
    world.join(&node("n1"), world.later(MINUTE).await).await;
    let mut tx = world.begin().await;
    tx.count_nodes(&a).await.expect("counted");
    tx.count_nodes(&id("never-made")).await.expect("counted");
    tx.commit().await.expect("committed");
    world.store.prune(MINUTE).await.expect("pruned");
    assert_eq!(counted(&world, &a).await.len(), 1);
    assert!(counted(&world, &id("never-made")).await.is_empty());
}

async fn listed(world: &World) -> Vec<NodeRecord> {
    world.store.nodes().await.expect("read")
}

fn process(role: Role) -> NodeProcess {
    NodeProcess { role, version: "1.2.3" }
}

async fn a_process_that_was_heard_of_is_listed_and_counted_by_nothing(world: World) {
    let a = world.deployment("a").await.id;
    let before = world.store.now().await.expect("the time");
    let since = world.store.record_process(&node("n1"), process(Role::Api), None).await.expect("heard");
    assert!(since >= before);
    world.join(&node("n2"), world.later(MINUTE).await).await;
    let mut tx = world.begin().await;
    assert_eq!(tx.count_nodes(&a).await.expect("counted"), 1, "it holds no lease");
    tx.commit().await.expect("committed");
    set_tls(&world, &a, TlsState::Terminated).await;
    let nodes = listed(&world).await;
    let of_process = nodes[0].process.as_ref().expect("it was heard of");
    assert_eq!((of_process.role.as_str(), of_process.version.as_str()), ("api", "1.2.3"));
    assert_eq!((of_process.started_at, of_process.heard_at), (since, since));
    assert_eq!((nodes[0].lease, nodes[0].unproven), (None, 0));
    // Of a release without this report.
    assert_eq!((nodes[1].id.as_str(), &nodes[1].process, nodes[1].unproven), ("n2", &None, 1));

    // A continuing process keeps its role and start.
    let next = world.store.record_process(&node("n1"), process(Role::All), None).await.expect("heard");
    let again = world.store.record_process(&node("n1"), process(Role::All), Some(next)).await.expect("heard");
    assert_eq!(again, next);
    let of_process = listed(&world).await.remove(0).process.expect("it was heard of");
    assert_eq!((of_process.role.as_str(), of_process.started_at), ("all", next));
    assert!(of_process.heard_at >= next);
}

async fn a_process_is_listed_until_it_ends_or_is_silent_for_an_hour(world: World) {
    for name in ["gone", "lost", "old"] {
        world.store.record_process(&node(name), process(Role::Gateway), None).await.expect("heard");
    }
    let names =
        |nodes: Vec<NodeRecord>| nodes.into_iter().map(|node| node.id.to_string()).collect::<Vec<_>>();
    world.store.remove_process(&node("gone")).await.expect("forgotten");
    world.store.remove_process(&node("never-was")).await.expect("nothing to do");
    for (name, minutes) in [("lost", 59), ("old", 60)] {
        let silent =
            format!("UPDATE node_process SET heard_at = heard_at - {minutes} * 60000 WHERE node = '{name}'");
        world.tamper(&silent).await;
    }
    let nodes = listed(&world).await;
    assert!(nodes[0].process.as_ref().expect("it was heard of").silent_for >= 59 * MINUTE);
    assert_eq!(names(nodes), ["lost"]);
    world.store.prune(MINUTE).await.expect("pruned");
    world.tamper("UPDATE node_process SET heard_at = heard_at + 3600000").await;
    assert_eq!(names(listed(&world).await), ["lost"], "the other was removed");
}
