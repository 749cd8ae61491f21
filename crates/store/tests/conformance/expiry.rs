use std::collections::BTreeSet;

use certward_store::{
    Alert, AlertChannel, AlertPage, AlertReceiver, ChannelId, DeliveryOutcome, DeliveryState, DeploymentId,
    Ending, EndingKind, EndingOwner, EndingPage, EndingScope, ListedEnding, ProjectId, Scope, StoppedChange,
    Timestamp, Tx, WebhookSecret, WebhookUrl,
};
use zeroize::Zeroizing;

use crate::{
    on_both_engines,
    world::{World, id, node, project},
};

on_both_engines![
    a_deployment_is_unlisted_after_each_change_of_its_upload,
    what_ends_is_listed_in_pages_of_any_size,
    a_key_sees_what_ends_in_its_projects,
    a_rule_is_recorded_once_for_a_certificate_of_a_project,
    alerts_are_withdrawn_with_the_last_owner_and_return_with_the_certificate,
    a_delivery_is_taken_once_for_an_attempt,
    a_channel_is_sealed_and_goes_with_its_project,
    a_key_is_refused_from_its_end_on,
    the_end_of_a_key_or_node_goes_with_it,
    what_an_older_release_removed_ends_no_more,
    what_is_removed_while_it_is_due_is_not_said,
    a_receiver_that_fails_holds_up_its_own_alerts_only,
    a_new_channel_begins_with_what_applies,
    a_later_rule_cancels_what_is_still_on_its_way,
];

const LIMIT: u32 = 100;

fn ending(kind: EndingKind, item: &str, ends_at: i64) -> Ending {
    Ending {
        kind,
        item: item.into(),
        subject: format!("CN={item}"),
        begins_at: Timestamp(0),
        ends_at: Timestamp(ends_at),
    }
}

fn leaf(item: &str, ends_at: i64) -> Ending {
    ending(EndingKind::Leaf, item, ends_at)
}

/// Due at once.
async fn list(world: &World, owner: &EndingOwner, endings: &[Ending]) {
    let due: Vec<_> = endings.iter().map(|ending| (ending.clone(), Some(Timestamp(0)))).collect();
    let mut tx = world.begin().await;
    tx.hold_expiry().await.expect("held");
    tx.set_endings(owner, &due).await.expect("written");
    tx.commit().await.expect("committed");
}

/// With its deployment.
async fn list_of(world: &World, name: &str, of_project: &str, endings: &[Ending]) {
    if world.store.read().deployment(&id(name)).await.expect("read").is_none() {
        let made = crate::world::deployment(name, of_project, &[]);
        let mut tx = world.begin().await;
        tx.insert_deployment(&made).await.expect("written").expect("free");
        tx.commit().await.expect("committed");
    }
    list(world, &of(name, of_project), endings).await;
}

fn of(name: &str, of_project: &str) -> EndingOwner {
    EndingOwner::deployment(&id(name), &project(of_project))
}

/// With a leaf of its own that ends at 10, due at once.
async fn listed_deployment(world: &World, name: &str) -> DeploymentId {
    let made = world.deployment(name).await;
    world.upload(&made.id, b"key").await;
    unlisted(world).await;
    list_of(world, name, "default", &[leaf(name, 10)]).await;
    made.id
}

async fn all(world: &World, scope: &EndingScope) -> Vec<ListedEnding> {
    let page = EndingPage { until: Timestamp(i64::MAX), after: None, limit: LIMIT };
    world.store.read().endings(scope, page).await.expect("read")
}

async fn items(world: &World, scope: &EndingScope) -> Vec<String> {
    all(world, scope).await.into_iter().map(|listed| listed.ending.item).collect()
}

pub(crate) async fn alerts(world: &World, projects: Option<Vec<ProjectId>>) -> Vec<Alert> {
    let page = AlertPage { projects, before: None, limit: LIMIT };
    world.store.read().alerts(&page).await.expect("read")
}

/// Of everything that is due.
async fn record(world: &World, rule: &str, at: i64) -> Vec<Alert> {
    let mut tx = world.begin().await;
    tx.hold_expiry().await.expect("held");
    let mut recorded = Vec::new();
    for due in tx.due_endings(Timestamp(at), LIMIT).await.expect("read") {
        let owners = tx.ending_owners(&due).await.expect("read");
        recorded.extend(tx.record_alert(&due, &owners, rule, Timestamp(at), 0).await.expect("written"));
    }
    tx.commit().await.expect("committed");
    recorded
}

fn rule(alert: &Alert) -> &str {
    &alert.cause.applied().expect("of something that ends").rule
}

pub(crate) fn channel(name: &str, of: Option<&str>) -> AlertChannel {
    let url = WebhookUrl::parse("https://hooks.example.com/canary").expect("a URL");
    let secret = WebhookSecret::generate(&Zeroizing::new([1; 32]));
    AlertChannel {
        id: ChannelId::parse(name).expect("an id"),
        project: of.map(project),
        name: format!("{name} for people"),
        receiver: AlertReceiver::Webhook { url, secret },
        created_at: Timestamp(1),
    }
}

pub(crate) async fn add(world: &World, channel: &AlertChannel) {
    let mut tx = world.begin().await;
    tx.insert_alert_channel(channel).await.expect("written");
    tx.commit().await.expect("committed");
}

pub(crate) async fn add_project(world: &World, name: &str) {
    let made = certward_store::Project {
        id: project(name),
        name: String::new(),
        description: String::new(),
        created_at: Timestamp(0),
        boundary: certward_store::Boundary::default(),
    };
    let mut tx = world.begin().await;
    tx.insert_project(&made).await.expect("written");
    tx.commit().await.expect("committed");
}

/// A row of each table, for a copy.
pub(crate) async fn fill(tx: &mut Tx) {
    tx.insert_alert_channel(&channel("copied", None)).await.expect("written");
    let endings = [(leaf("copied", 10), Some(Timestamp(1)))];
    tx.set_endings(&of("rich", "other"), &endings).await.expect("written");
    for due in tx.due_endings(Timestamp(1), LIMIT).await.expect("read") {
        let owners = tx.ending_owners(&due).await.expect("read");
        tx.record_alert(&due, &owners, "1/5", Timestamp(1), 0).await.expect("written").expect("new");
    }
    let stopped = StoppedChange {
        deployment: id("rich"),
        project: project("other"),
        leaf: "copied".into(),
        subject: "CN=copied".into(),
        detail: "copied".into(),
    };
    tx.record_stopped_change(&stopped).await.expect("written").expect("new");
}

async fn unlisted(world: &World) -> Vec<String> {
    let mut tx = world.begin().await;
    let found = tx.unlisted(LIMIT).await.expect("read");
    for (id, _, version) in &found {
        tx.set_listed(id, *version).await.expect("written");
    }
    tx.commit().await.expect("committed");
    found.into_iter().map(|(id, ..)| id.to_string()).collect()
}

async fn a_deployment_is_unlisted_after_each_change_of_its_upload(world: World) {
    let (a, _b) = (world.deployment("a").await, world.deployment("b").await);
    assert_eq!(unlisted(&world).await, [""; 0], "neither has a certificate");
    world.upload(&a.id, b"key").await;
    assert!(world.store.read().expiry_work(Timestamp(0)).await.expect("read").listing);
    assert_eq!(unlisted(&world).await, ["a"]);
    assert_eq!(unlisted(&world).await, [""; 0]);
    assert!(!world.store.read().expiry_work(Timestamp(0)).await.expect("read").listing);
    let generation = world.upload(&a.id, b"another key").await;
    assert_eq!(unlisted(&world).await, ["a"]);
    let mut tx = world.begin().await;
    tx.set_tls(&a.id, generation, &certward_store::TlsState::Absent).await.expect("written");
    tx.commit().await.expect("committed");
    assert_eq!(unlisted(&world).await, ["a"], "its certificate was deleted");
}

async fn what_ends_is_listed_in_pages_of_any_size(world: World) {
    // Several end at once.
    for number in 0..20 {
        let name = format!("d{number}");
        let endings = [leaf(&name, 1_000 + number % 4), ending(EndingKind::ClientCa, "shared", 5_000)];
        list_of(&world, &name, "default", &endings).await;
    }
    let whole = all(&world, &EndingScope::All).await;
    assert_eq!(whole.len(), 40);
    assert!(whole.is_sorted_by_key(|listed| (listed.ending.ends_at, listed.number)));
    for limit in [1, 3, 20, 39, 40, 41] {
        let (mut read, mut after) = (Vec::new(), None);
        loop {
            let page = EndingPage { until: Timestamp(i64::MAX), after, limit };
            let found = world.store.read().endings(&EndingScope::All, page).await.expect("read");
            let Some(last) = found.last() else { break };
            after = Some((last.ending.ends_at, last.number));
            read.extend(found);
        }
        assert_eq!(read, whole, "pages of {limit}");
    }
    let soon = EndingPage { until: Timestamp(1_001), after: None, limit: LIMIT };
    assert_eq!(world.store.read().endings(&EndingScope::All, soon).await.expect("read").len(), 10);
    // What stays keeps its number: a page that was read goes on from it.
    list_of(&world, "d0", "default", &[leaf("new", 9_000), ending(EndingKind::ClientCa, "shared", 5_000)])
        .await;
    let kept = all(&world, &EndingScope::All).await;
    assert_eq!(whole.iter().filter(|listed| kept.contains(listed)).count(), 39);
}

async fn a_key_sees_what_ends_in_its_projects(world: World) {
    for name in ["ours", "theirs"] {
        add_project(&world, name).await;
    }
    let mut tx = world.begin().await;
    let mut made = Vec::new();
    for (name, projects) in
        [("all", None), ("ours", Some(vec!["ours"])), ("both", Some(vec!["ours", "theirs"]))]
    {
        let projects: Option<Vec<_>> = projects.map(|ids| ids.into_iter().map(project).collect());
        let end = Some(Timestamp(i64::MAX));
        let key =
            tx.insert_api_key(name, &[Scope::Admin], projects.as_deref(), end).await.expect("written").0;
        let owner = EndingOwner::api_key(&key.key, None);
        let ends = Ending { item: name.into(), ..ending(EndingKind::ApiKey, "", 50) };
        tx.set_endings(&owner, &[(ends, None)]).await.expect("written");
        made.push(key);
    }
    tx.commit().await.expect("committed");
    list_of(&world, "a", "ours", &[leaf("a", 1)]).await;
    list_of(&world, "b", "theirs", &[leaf("b", 2)]).await;
    list(&world, &EndingOwner::node(&node("n1")), &[ending(EndingKind::ApiCertificate, "n1", 3)]).await;
    let scope = |projects: Option<&[&str]>, own: usize, other_keys| EndingScope::Key {
        projects: projects.map(|ids| ids.iter().map(|id| project(id)).collect()),
        key: made[own].key.clone(),
        other_keys,
    };
    type Case<'a> = (Option<&'a [&'a str]>, usize, bool, &'a [&'a str]);
    let cases: [Case<'_>; 6] = [
        (None, 0, true, &["a", "b", "n1", "all", "ours", "both"]),
        (None, 0, false, &["a", "b", "n1", "all"]),
        (Some(&["ours"]), 1, true, &["a", "ours"]),
        (Some(&["ours"]), 1, false, &["a", "ours"]),
        (Some(&["ours", "theirs"]), 2, true, &["a", "b", "ours", "both"]),
        (Some(&[]), 1, true, &["ours"]),
    ];
    for (projects, own, other_keys, expected) in cases {
        let seen = items(&world, &scope(projects, own, other_keys)).await;
        assert_eq!(seen, expected, "{projects:?} {other_keys}");
    }
}

async fn a_rule_is_recorded_once_for_a_certificate_of_a_project(world: World) {
    add_project(&world, "other").await;
    for (name, of_project) in [("a", "default"), ("b", "default"), ("c", "other")] {
        list_of(&world, name, of_project, &[leaf("wildcard", 10)]).await;
    }
    let mut recorded = record(&world, "1/5", 5).await;
    recorded.sort_by(|a, b| a.project.cmp(&b.project));
    let shown: Vec<_> =
        recorded.iter().map(|alert| (alert.owners.join(" "), alert.owner_count, alert.at)).collect();
    assert_eq!(shown, [("a b".to_owned(), 2, Timestamp(5)), ("c".to_owned(), 1, Timestamp(5))]);
    assert_eq!(record(&world, "1/5", 6).await, [], "once");
    assert_eq!(record(&world, "1/10", 7).await.len(), 2);
    assert_eq!(alerts(&world, None).await.len(), 4);
    let of_other = alerts(&world, Some(vec![project("other")])).await;
    assert!(of_other.len() == 2 && of_other.iter().all(|alert| alert.project == Some(project("other"))));
    // Newest first, in pages of one.
    let (mut rules, mut before) = (Vec::new(), None);
    loop {
        let page = AlertPage { projects: Some(vec![project("other")]), before, limit: 1 };
        let Some(alert) = world.store.read().alerts(&page).await.expect("read").pop() else { break };
        rules.push(rule(&alert).to_owned());
        before = Some((alert.at, alert.id));
    }
    assert_eq!(rules, ["1/10", "1/5"]);
    let ids: BTreeSet<_> = alerts(&world, None).await.into_iter().map(|alert| alert.id).collect();
    assert_eq!(ids.len(), 4);
}

pub(crate) async fn states(world: &World, alert: &Alert) -> Vec<(String, DeliveryState)> {
    let deliveries = world.store.read().deliveries(&[&alert.id]).await.expect("read");
    deliveries.into_iter().map(|delivery| (delivery.channel.to_string(), delivery.state)).collect()
}

async fn alerts_are_withdrawn_with_the_last_owner_and_return_with_the_certificate(world: World) {
    add(&world, &channel("one", None)).await;
    add(&world, &channel("two", Some("default"))).await;
    for name in ["a", "b"] {
        list_of(&world, name, "default", &[leaf("old", 10)]).await;
    }
    let alert = record(&world, "1/5", 5).await.pop().expect("recorded");
    let taken = world.store.take_deliveries(Timestamp(5), 1, |_| Timestamp(50)).await.expect("taken");
    world.store.finish_delivery(&taken[0], &DeliveryOutcome::Delivered, Timestamp(5)).await.expect("written");
    list_of(&world, "a", "default", &[leaf("new", 99)]).await;
    let pending = [("one".to_owned(), DeliveryState::Delivered), ("two".to_owned(), DeliveryState::Pending)];
    assert_eq!(states(&world, &alert).await, pending, "b still has it");
    list_of(&world, "b", "default", &[leaf("new", 99)]).await;
    let cancelled =
        [("one".to_owned(), DeliveryState::Delivered), ("two".to_owned(), DeliveryState::Cancelled)];
    assert_eq!(states(&world, &alert).await, cancelled);
    let withdrawn = world.store.read().alert(&alert.id).await.expect("read").expect("it stays");
    assert!(withdrawn.withdrawn_at.is_some());
    // A roll-back: the same alert, and only what was not delivered.
    list_of(&world, "a", "default", &[leaf("old", 10)]).await;
    let again = record(&world, "1/5", 6).await;
    let ids: Vec<_> =
        again.iter().filter(|again| again.item == "old").map(|again| again.id.clone()).collect();
    assert_eq!(ids, std::slice::from_ref(&alert.id));
    assert_eq!(states(&world, &alert).await, pending);
}

async fn a_delivery_is_taken_once_for_an_attempt(world: World) {
    for number in 0..5 {
        add(&world, &channel(&format!("c{number}"), None)).await;
    }
    add_project(&world, "other").await;
    add(&world, &channel("others", Some("other"))).await;
    list_of(&world, "a", "default", &[leaf("a", 10)]).await;
    let alert = record(&world, "end", 10).await.pop().expect("recorded");
    assert!(world.store.read().expiry_work(Timestamp(10)).await.expect("read").deliveries);
    let mut takes = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let store = world.store.clone();
        takes.spawn(async move { store.take_deliveries(Timestamp(10), 2, |_| Timestamp(70)).await });
    }
    let mut taken = Vec::new();
    for took in takes.join_all().await {
        taken.extend(took.expect("taken"));
    }
    let mut channels: Vec<_> = taken.iter().map(|delivery| delivery.channel.to_string()).collect();
    channels.sort();
    assert_eq!(channels, ["c0", "c1", "c2", "c3", "c4"], "each once, and none of another project's");
    assert!(taken.iter().all(|delivery| delivery.attempts == 1 && delivery.alert == alert.id));
    // Two are sent, one fails for good, two nodes die.
    let outcomes = [
        DeliveryOutcome::Delivered,
        DeliveryOutcome::Retried("status 503".into()),
        DeliveryOutcome::Failed("status 410".into()),
    ];
    for (delivery, outcome) in taken.iter().zip(&outcomes) {
        world.store.finish_delivery(delivery, outcome, Timestamp(11)).await.expect("written");
    }
    assert!(
        world.store.take_deliveries(Timestamp(69), 9, |_| Timestamp(99)).await.expect("taken").is_empty()
    );
    let again = world.store.take_deliveries(Timestamp(70), 9, |attempt| Timestamp(70 + i64::from(attempt)));
    let again = again.await.expect("taken");
    assert_eq!(again.len(), 3);
    assert!(again.iter().all(|delivery| delivery.attempts == 2 && delivery.next_at == Timestamp(72)));
    let failures: Vec<_> = again.iter().filter_map(|delivery| delivery.failure.as_deref()).collect();
    assert_eq!(failures, ["status 503"]);
}

async fn a_channel_is_sealed_and_goes_with_its_project(world: World) {
    add_project(&world, "other").await;
    let (ours, theirs) = (channel("ours", None), channel("theirs", Some("other")));
    add(&world, &ours).await;
    add(&world, &theirs).await;
    let store = world.reopen().await;
    let read = store.read().alert_channels().await.expect("read");
    let names: Vec<_> = read.iter().map(|channel| channel.name.as_str()).collect();
    assert_eq!(names, ["ours for people", "theirs for people"]);
    let AlertReceiver::Webhook { url, secret } = &read[0].receiver else { panic!("a webhook") };
    assert_eq!(url.as_str(), "https://hooks.example.com/canary");
    assert_eq!(secret.expose(), WebhookSecret::generate(&Zeroizing::new([1; 32])).expose());
    // Moved to another row it does not open.
    world
        .tamper("UPDATE alert_channel SET sealed = (SELECT sealed FROM alert_channel WHERE id = 'ours')")
        .await;
    assert!(store.read().alert_channel(&theirs.id).await.is_err());
    let mut tx = store.begin().await.expect("a transaction");
    tx.remove_project(&project("other")).await.expect("removed");
    tx.commit().await.expect("committed");
    let ids: Vec<_> =
        store.read().alert_channels().await.expect("read").into_iter().map(|channel| channel.id).collect();
    assert_eq!(ids, [ours.id]);
}

async fn a_key_is_refused_from_its_end_on(world: World) {
    // On PostgreSQL a change is judged by the database's clock.
    let now = world.store.now().await.expect("the time");
    world.clock.set(now);
    let end = now.after(std::time::Duration::from_secs(3600));
    let mut tx = world.begin().await;
    let (key, secret) = tx.insert_api_key("k", &[Scope::Admin], None, Some(end)).await.expect("written");
    assert_eq!(tx.admin_keys().await.expect("counted"), 0, "one that ends is none that stays");
    tx.commit().await.expect("committed");
    assert_eq!(key.expires_at, Some(end));
    let open = async || world.store.authenticate(key.key.as_str(), secret.expose()).await.expect("answered");
    world.clock.set(Timestamp(end.0 - 1));
    assert_eq!(open().await, Some(key.clone()));
    world.clock.set(end);
    assert_eq!(open().await, None);
    if world.is_postgres() {
        world.tamper("UPDATE api_key SET expires_at = 1").await;
    }
    assert!(world.store.begin_as(&key.key).await.expect("answered").is_none(), "nor may it change anything");
}

async fn the_end_of_a_key_or_node_goes_with_it(world: World) {
    let mut tx = world.begin().await;
    let key = tx.insert_api_key("k", &[Scope::Tls], None, Some(Timestamp(9))).await.expect("written").0;
    tx.commit().await.expect("committed");
    let key_ending = Ending { item: key.key.to_string(), ..ending(EndingKind::ApiKey, "", 9) };
    list(&world, &EndingOwner::api_key(&key.key, None), &[key_ending]).await;
    list(&world, &EndingOwner::node(&node("n1")), &[ending(EndingKind::ApiCertificate, "n1", 3)]).await;
    // A deployment whose id is the key's.
    list_of(&world, key.key.as_str(), "default", &[leaf("a", 1)]).await;
    let mut tx = world.begin().await;
    tx.remove_api_key(&key.key).await.expect("removed");
    tx.commit().await.expect("committed");
    assert_eq!(items(&world, &EndingScope::All).await, ["a", "n1"]);
    world.store.remove_process(&node("n1")).await.expect("removed");
    assert_eq!(items(&world, &EndingScope::All).await, ["a"]);
    let mut tx = world.begin().await;
    tx.remove_deployment(&id(key.key.as_str())).await.expect("removed");
    tx.commit().await.expect("committed");
    assert!(all(&world, &EndingScope::All).await.is_empty());
}

/// It knows no table of what ends.
async fn what_an_older_release_removed_ends_no_more(world: World) {
    add_project(&world, "other").await;
    let made = world.deployment("a").await;
    world.upload(&made.id, b"key").await;
    assert_eq!(unlisted(&world).await, ["a"]);
    list_of(&world, "a", "default", &[leaf("a", 10)]).await;
    let mut tx = world.begin().await;
    let key = tx.insert_api_key("k", &[Scope::Tls], None, Some(Timestamp(9))).await.expect("written").0;
    tx.commit().await.expect("committed");
    let key_ending = Ending { item: key.key.to_string(), ..ending(EndingKind::ApiKey, "", 9) };
    list(&world, &EndingOwner::api_key(&key.key, None), &[key_ending]).await;
    assert_eq!(all(&world, &EndingScope::All).await.len(), 2);
    world.tamper("DELETE FROM deployment; DELETE FROM api_key").await;
    assert_eq!(items(&world, &EndingScope::All).await, [""; 0]);
    assert_eq!(record(&world, "end", 10).await, []);

    // The id is another project's now, with the same certificate.
    let mut tx = world.begin().await;
    let again = crate::world::deployment("a", "other", &[]);
    tx.insert_deployment(&again).await.expect("written").expect("free");
    tx.commit().await.expect("committed");
    assert_eq!(items(&world, &EndingScope::All).await, [""; 0]);
    world.upload(&again.id, b"key").await;
    assert_eq!(unlisted(&world).await, ["a"]);
    list_of(&world, "a", "other", &[leaf("a", 10)]).await;
    let projects: Vec<_> =
        all(&world, &EndingScope::All).await.into_iter().map(|listed| listed.project).collect();
    assert_eq!(projects, [Some(project("other"))]);
}

async fn what_is_removed_while_it_is_due_is_not_said(world: World) {
    let made = listed_deployment(&world, "a").await;
    let mut tx = world.begin().await;
    let due = tx.due_endings(Timestamp(5), LIMIT).await.expect("read");
    tx.remove_deployment(&made).await.expect("removed");
    assert!(!tx.set_due(due[0].number, None).await.expect("written"));
    assert!(tx.ending_owners(&due[0]).await.expect("read").named.is_empty());
}

async fn a_receiver_that_fails_holds_up_its_own_alerts_only(world: World) {
    for name in ["hangs", "well"] {
        add(&world, &channel(name, None)).await;
    }
    for name in ["a", "b", "c"] {
        listed_deployment(&world, name).await;
    }
    assert_eq!(record(&world, "1/5", 5).await.len(), 3);
    let store = &world.store;
    let taken = store.take_deliveries(Timestamp(5), 1, |_| Timestamp(1_000_000)).await.expect("taken");
    let failed = DeliveryOutcome::Retried("timed_out".into());
    store.finish_delivery(&taken[0], &failed, Timestamp(5)).await.expect("written");
    let others = store.take_deliveries(Timestamp(5), LIMIT, |_| Timestamp(9)).await.expect("taken");
    assert_eq!(others.len(), 3);
    assert!(others.iter().all(|delivery| delivery.channel != taken[0].channel));
    // Five minutes later, however long the failed one waits.
    let later =
        store.take_deliveries(Timestamp(300_005), LIMIT, |_| Timestamp(2_000_000)).await.expect("taken");
    let of_it = later.iter().filter(|delivery| delivery.channel == taken[0].channel).count();
    assert_eq!(of_it, 2);
}

async fn channels_of(world: &World, alert: &Alert) -> Vec<String> {
    states(world, alert).await.into_iter().map(|(channel, _)| channel).collect()
}

async fn a_new_channel_begins_with_what_applies(world: World) {
    add_project(&world, "other").await;
    listed_deployment(&world, "a").await;
    list_of(&world, "b", "other", &[leaf("b", 10)]).await;
    let (earlier, newest) = (record(&world, "1/5", 5).await, record(&world, "1/10", 6).await);
    list_of(&world, "c", "default", &[leaf("c", 10)]).await;
    let replaced = record(&world, "1/10", 7).await;
    list_of(&world, "c", "default", &[leaf("d", 99)]).await;
    add(&world, &channel("all", None)).await;
    add(&world, &channel("others", Some("other"))).await;
    for alert in earlier.iter().chain(replaced.iter().filter(|alert| alert.item == "c")) {
        assert_eq!(channels_of(&world, alert).await, [""; 0], "{} {}", alert.item, rule(alert));
    }
    for alert in &newest {
        let expected: &[&str] = if alert.item == "b" { &["all", "others"] } else { &["all"] };
        assert_eq!(channels_of(&world, alert).await, expected, "{}", alert.item);
    }
}

async fn a_later_rule_cancels_what_is_still_on_its_way(world: World) {
    add(&world, &channel("one", None)).await;
    listed_deployment(&world, "a").await;
    let earlier = record(&world, "1/5", 5).await.pop().expect("recorded");
    let later = record(&world, "end", 10).await.pop().expect("recorded");
    assert_eq!(states(&world, &earlier).await, [("one".to_owned(), DeliveryState::Cancelled)]);
    assert_eq!(states(&world, &later).await, [("one".to_owned(), DeliveryState::Pending)]);
}
