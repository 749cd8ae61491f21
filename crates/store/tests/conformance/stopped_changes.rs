//! Alerts about changes that were stopped and client CAs that are not used, and alerts of kinds of
//! a newer release.

use certward_store::{
    Alert, AlertCause, AlertKind, DeliveryOutcome, DeliveryState, StoppedChange, Timestamp, UnusedClientCa,
};

use crate::{
    expiry::{add, add_project, alerts, channel, states},
    on_both_engines,
    world::{World, id, project},
};

on_both_engines![
    a_stopped_change_is_recorded_once_for_a_deployment_and_leaf,
    it_is_withdrawn_when_that_leaf_is_accepted_and_recorded_again_when_it_is_stopped_again,
    it_goes_with_its_deployment,
    an_unused_client_ca_is_recorded_once_and_withdrawn_alone,
    a_new_channel_does_not_begin_with_it_and_a_clock_set_right_leaves_it,
    alerts_and_ends_of_a_newer_release_are_left_to_its_nodes,
];

const LIMIT: u32 = 100;

fn stopped(deployment: &str, of: &str, leaf: &str) -> StoppedChange {
    StoppedChange {
        deployment: id(deployment),
        project: project(of),
        leaf: leaf.into(),
        subject: format!("CN={leaf}\0"),
        detail: format!("{deployment} {leaf}\0"),
    }
}

async fn record(world: &World, stopped: &StoppedChange) -> Option<Alert> {
    let mut tx = world.begin().await;
    let recorded = tx.record_stopped_change(stopped).await.expect("written");
    tx.commit().await.expect("committed");
    recorded
}

async fn withdraw(world: &World, deployment: &str, leaf: &str) {
    let mut tx = world.begin().await;
    tx.withdraw_stopped_change(&id(deployment), leaf).await.expect("written");
    tx.commit().await.expect("committed");
}

async fn is_recorded(world: &World, stopped: &StoppedChange) -> bool {
    let StoppedChange { project, deployment, leaf, .. } = stopped;
    world.store.read().has_stopped_change(project, deployment, leaf).await.expect("read")
}

fn one(state: DeliveryState) -> [(String, DeliveryState); 1] {
    [("one".to_owned(), state)]
}

async fn a_stopped_change_is_recorded_once_for_a_deployment_and_leaf(world: World) {
    add_project(&world, "other").await;
    for (name, of) in [("one", None), ("ours", Some("default")), ("theirs", Some("other"))] {
        add(&world, &channel(name, of)).await;
    }
    let a = stopped("a", "default", "leaf");
    assert!(!is_recorded(&world, &a).await);
    let alert = record(&world, &a).await.expect("new");
    assert!(is_recorded(&world, &a).await);
    assert_eq!(record(&world, &a).await, None, "once");
    let channels: Vec<String> =
        states(&world, &alert).await.into_iter().map(|(channel, _)| channel).collect();
    assert_eq!(channels, ["one", "ours"]);
    assert_eq!(alert.cause, AlertCause::StoppedChange { detail: "a leaf\u{fffd}".to_owned() });
    assert_eq!(alert.cause.kind(), AlertKind::StoppedChange);
    assert_eq!((alert.item.as_str(), alert.subject.as_str()), ("leaf", "CN=leaf\u{fffd}"));
    assert_eq!((&alert.owners[..], alert.owner_count), (&["a".to_owned()][..], 1));
    for another in [
        stopped("a", "default", "another leaf"),
        stopped("b", "default", "leaf"),
        stopped("c", "other", "leaf"),
    ] {
        assert!(!is_recorded(&world, &another).await);
        assert!(record(&world, &another).await.is_some(), "{another:?}");
    }
    // None takes another's place.
    assert!(states(&world, &alert).await.iter().all(|(_, state)| *state == DeliveryState::Pending));
    assert_eq!(alerts(&world, None).await.len(), 4);
    let theirs = alerts(&world, Some(vec![project("other")])).await;
    assert_eq!(theirs.iter().map(|alert| alert.owners[0].as_str()).collect::<Vec<_>>(), ["c"]);
}

async fn it_is_withdrawn_when_that_leaf_is_accepted_and_recorded_again_when_it_is_stopped_again(
    world: World,
) {
    add(&world, &channel("one", None)).await;
    let (a, b) = (stopped("a", "default", "leaf"), stopped("b", "default", "leaf"));
    let (of_a, of_b) = (record(&world, &a).await.expect("new"), record(&world, &b).await.expect("new"));
    withdraw(&world, "a", "another leaf").await;
    assert_eq!(states(&world, &of_a).await, one(DeliveryState::Pending));
    withdraw(&world, "a", "leaf").await;
    assert_eq!(states(&world, &of_a).await, one(DeliveryState::Cancelled));
    assert_eq!(states(&world, &of_b).await, one(DeliveryState::Pending));
    assert!(!is_recorded(&world, &a).await && is_recorded(&world, &b).await);
    let stored = world.store.read().alert(&of_a.id).await.expect("read").expect("it stays");
    assert!(stored.withdrawn_at.is_some());

    let again = StoppedChange { detail: "worse".into(), ..a.clone() };
    let recorded = record(&world, &again).await.expect("withdrawn before");
    assert_eq!((&recorded.id, recorded.withdrawn_at), (&of_a.id, None));
    assert_eq!(recorded.cause, AlertCause::StoppedChange { detail: "worse".into() });
    assert_eq!(states(&world, &of_a).await, one(DeliveryState::Pending));
    let now = world.store.now().await.expect("read");
    for delivery in world.store.take_deliveries(now, LIMIT, |_| now).await.expect("taken") {
        world.store.finish_delivery(&delivery, &DeliveryOutcome::Delivered, now).await.expect("written");
    }
    withdraw(&world, "a", "leaf").await;
    record(&world, &a).await.expect("withdrawn before");
    assert_eq!(states(&world, &of_a).await, one(DeliveryState::Delivered), "receivers have this id");
}

async fn it_goes_with_its_deployment(world: World) {
    add(&world, &channel("one", None)).await;
    for name in ["a", "b"] {
        world.deployment(name).await;
    }
    let of = |name| stopped(name, "default", "leaf");
    let recorded =
        (record(&world, &of("a")).await.expect("new"), record(&world, &of("b")).await.expect("new"));
    let mut tx = world.begin().await;
    tx.remove_deployment(&id("a")).await.expect("written");
    tx.commit().await.expect("committed");
    assert_eq!(states(&world, &recorded.0).await, one(DeliveryState::Cancelled));
    assert_eq!(states(&world, &recorded.1).await, one(DeliveryState::Pending));
}

async fn an_unused_client_ca_is_recorded_once_and_withdrawn_alone(world: World) {
    add(&world, &channel("one", None)).await;
    for name in ["a", "b"] {
        world.deployment(name).await;
    }
    let unused = |deployment: &str, ca: &str| UnusedClientCa {
        deployment: id(deployment),
        project: project("default"),
        fingerprint: ca.into(),
        subject: format!("CN={ca}\0"),
        detail: ca.into(),
    };
    let record = async |unused: &UnusedClientCa| {
        let mut tx = world.begin().await;
        let recorded = tx.record_unused_client_ca(unused).await.expect("written");
        tx.commit().await.expect("committed");
        recorded
    };
    let open = async |deployment: &str| {
        let read = world.store.read();
        read.unused_client_cas(&project("default"), &id(deployment)).await.expect("read")
    };
    let withdraw_but = async |deployment: &str, unused: &[&str]| {
        let unused: Vec<String> = unused.iter().map(|ca| (*ca).to_owned()).collect();
        let mut tx = world.begin().await;
        let (project, deployment) = (project("default"), id(deployment));
        tx.withdraw_used_client_cas(&project, &deployment, &unused).await.expect("written");
        tx.commit().await.expect("committed");
    };
    let first = record(&unused("a", "x")).await.expect("new");
    assert_eq!(first.cause, AlertCause::UnusedClientCa { detail: "x".into() });
    assert_eq!(first.cause.kind(), AlertKind::UnusedClientCa);
    assert_eq!(record(&unused("a", "x")).await, None, "once");
    let second = record(&unused("a", "y")).await.expect("another");
    let of_b = record(&unused("b", "x")).await.expect("of another deployment");
    let stopped = self::record(&world, &stopped("a", "default", "x")).await.expect("of another kind");
    assert_eq!(
        world.store.read().deployments_with_unused_client_cas().await.expect("read"),
        [id("a"), id("b")]
    );

    withdraw_but("a", &["y", "z"]).await;
    assert_eq!((open("a").await, open("b").await), (vec!["y".to_owned()], vec!["x".to_owned()]));
    assert_eq!(states(&world, &first).await, one(DeliveryState::Cancelled));
    for other in [&second, &of_b, &stopped] {
        assert_eq!(states(&world, other).await, one(DeliveryState::Pending));
    }
    let again = record(&unused("a", "x")).await.expect("withdrawn before");
    assert_eq!((&again.id, again.withdrawn_at), (&first.id, None));
    add(&world, &channel("late", None)).await;
    assert_eq!(states(&world, &of_b).await, one(DeliveryState::Pending), "a new channel begins without");
    let mut tx = world.begin().await;
    tx.remove_deployment(&id("a")).await.expect("written");
    tx.commit().await.expect("committed");
    assert_eq!((open("a").await, open("b").await), (vec![], vec!["x".to_owned()]));
    assert_eq!(states(&world, &second).await, one(DeliveryState::Cancelled));
}

async fn a_new_channel_does_not_begin_with_it_and_a_clock_set_right_leaves_it(world: World) {
    let alert = record(&world, &stopped("a", "default", "leaf")).await.expect("new");
    add(&world, &channel("one", None)).await;
    assert_eq!(states(&world, &alert).await, []);
    let mut tx = world.begin().await;
    tx.remove_alerts_after(Timestamp(alert.at.0 - 1)).await.expect("written");
    tx.commit().await.expect("committed");
    assert_eq!(alerts(&world, None).await, [alert]);
}

/// Nothing that this program does stops at them, and what it knows comes first and last.
async fn alerts_and_ends_of_a_newer_release_are_left_to_its_nodes(world: World) {
    add(&world, &channel("one", None)).await;
    let alert = record(&world, &stopped("a", "default", "leaf")).await.expect("new");
    world
        .tamper(
            "INSERT INTO alert (id, project, kind, item, rule, subject, begins_at, ends_at, owners, owner_count, at,
                                clock_jump)
             VALUES ('new', 'default', 'newKind', 'i', 'r', 's', 0, 0, '[]', 0, 9000000000000, 0);
             INSERT INTO alert_delivery (alert, channel, state, attempts, next_at) VALUES ('new', 'one', 'pending', 0, 0);
             INSERT INTO ending (owner, kind, item, project, subject, begins_at, ends_at, due_at)
             VALUES ('a', 'newKind', 'i', 'default', 's', 0, 1, 0)",
        )
        .await;
    for projects in [None, Some(vec![project("default")])] {
        assert_eq!(alerts(&world, projects).await, std::slice::from_ref(&alert));
    }
    let later = Timestamp(alert.at.0 + 1);
    let taken = world.store.take_deliveries(later, LIMIT, |_| later).await.expect("taken");
    assert_eq!(taken.iter().map(|delivery| &delivery.alert).collect::<Vec<_>>(), [&alert.id]);
    assert_eq!(world.asked("SELECT state FROM alert_delivery WHERE alert = 'new'").await, "pending");
    let mut tx = world.begin().await;
    assert_eq!(tx.due_endings(later, LIMIT).await.expect("read"), []);
    assert_eq!(tx.endings_after(0, LIMIT).await.expect("read"), []);
}
