//! What ends is listed, said in time and once, and cancelled by a replacement.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use certward_lifecycle::{
    AlertDelivery, AlertMessage, AlertSender, Delivered, ExpiryRule, ExpiryRules, ExpiryWatch,
    NewAlertChannel, NewKey, Sending, SystemEntropy, Undelivered,
};
use certward_pki::Upload;
use certward_store::{
    Alert, AlertKind, AlertPage, AlertReceiver, DeliveryState, EndingKind, EndingPage, EndingScope, Scope,
    Store, Timestamp, WebhookSecret, WebhookUrl,
};
use certward_test_support::Leaf;
use support::{Authority, World};
use time::OffsetDateTime;
use zeroize::Zeroizing;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Of so many days, from now on.
fn leaf_of(world: &World, ca: &Authority, days: u32) -> Leaf {
    let now = to_the_second(world);
    ca.server_with(&[support::HOST], |leaf| {
        (leaf.not_before, leaf.not_after) = (now, now + DAY * days);
    })
}

/// Certificates have no parts of a second.
fn to_the_second(world: &World) -> OffsetDateTime {
    let now = world.lifecycle.store().clock().now();
    OffsetDateTime::from_unix_timestamp(now.0.div_euclid(1000)).unwrap()
}

fn upload(leaf: &Leaf) -> Upload {
    support::one_way(leaf)
}

fn two_way(leaf: &Leaf, clients: &Authority) -> Upload {
    Upload { tls_type: support::given("two-way"), cacert: support::given(clients.pem()), ..upload(leaf) }
}

async fn alerts(store: &Store) -> Vec<Alert> {
    let page = AlertPage { projects: None, before: None, limit: 10_000 };
    store.read().alerts(&page).await.unwrap()
}

/// The rules that were said, in their order.
fn rules(alerts: &[Alert]) -> Vec<&str> {
    alerts.iter().rev().map(|alert| alert.cause.applied().unwrap().rule.as_str()).collect()
}

async fn turn(world: &World, watch: &mut ExpiryWatch) -> Vec<Alert> {
    watch.turn(world.lifecycle.store().clock().now()).await.unwrap()
}

async fn listed(world: &World) -> Vec<(EndingKind, String)> {
    let page = EndingPage { until: Timestamp(i64::MAX), after: None, limit: 100 };
    let found = world.lifecycle.store().read().endings(&EndingScope::All, page).await.unwrap();
    found.into_iter().map(|listed| (listed.ending.kind, listed.owner)).collect()
}

#[tokio::test]
async fn everything_of_an_upload_is_listed_and_leaves_with_it() {
    let (world, root, devices) = (World::new().await, Authority::new("Root"), Authority::new("Devices"));
    let mut watch = world.lifecycle.expiry_watch();
    let leaf = leaf_of(&world, &root.intermediate("Intermediate"), 47);
    world.create(two_way(&leaf, &devices)).await;
    turn(&world, &mut watch).await;
    let of = |kind| (kind, world.id.to_string());
    let mut kinds = listed(&world).await;
    kinds.sort();
    assert_eq!(kinds, [of(EndingKind::Leaf), of(EndingKind::Intermediate), of(EndingKind::ClientCa)]);
    world.replace(upload(&leaf_of(&world, &root, 47))).await;
    turn(&world, &mut watch).await;
    assert_eq!(listed(&world).await, [of(EndingKind::Leaf)]);
    world.delete().await;
    turn(&world, &mut watch).await;
    assert_eq!(listed(&world).await, []);
}

#[tokio::test]
async fn each_rule_is_said_when_it_is_time_and_a_restart_says_nothing_again() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let mut watch = world.lifecycle.expiry_watch();
    world.create(upload(&leaf_of(&world, &ca, 50))).await;
    for (days, expected) in [(0, 0), (39, 0), (40, 1), (44, 1), (45, 2), (48, 2), (49, 3), (50, 4), (400, 4)]
    {
        let so_far = to_the_second(&world) - time::macros::datetime!(2026-11-25 12:00 UTC);
        world.clock.advance(DAY * days - so_far.unsigned_abs());
        turn(&world, &mut watch).await;
        watch = world.lifecycle.expiry_watch();
        turn(&world, &mut watch).await;
        assert_eq!(alerts(world.lifecycle.store()).await.len(), expected, "on day {days}");
    }
    assert_eq!(rules(&alerts(world.lifecycle.store()).await), ["1/5", "1/10", "1/30", "end"]);
}

#[tokio::test]
async fn after_a_long_stop_only_the_most_urgent_rule_is_said() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let mut watch = world.lifecycle.expiry_watch();
    world.create(upload(&leaf_of(&world, &ca, 50))).await;
    turn(&world, &mut watch).await;
    world.clock.advance(DAY * 46);
    let said = turn(&world, &mut world.lifecycle.expiry_watch()).await;
    assert_eq!(rules(&said), ["1/10"]);
    let jump = said[0].cause.applied().unwrap().clock_jump;
    assert_eq!(jump, i64::try_from((DAY * 46).as_millis()).unwrap(), "it may be the clock");
}

#[tokio::test]
async fn other_rules_apply_to_what_is_listed_already() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    world.create(upload(&leaf_of(&world, &ca, 50))).await;
    assert_eq!(turn(&world, &mut world.lifecycle.expiry_watch()).await, []);
    let days = vec![ExpiryRule::Days(49), ExpiryRule::Days(7)];
    let rules_in_days = ExpiryRules::with(Some(days), None).unwrap();
    world.clock.advance(DAY * 2);
    let mut watch = ExpiryWatch::new(world.lifecycle.store().clone(), rules_in_days.clone());
    assert_eq!(rules(&turn(&world, &mut watch).await), ["49d"]);
    let mut again = ExpiryWatch::new(world.lifecycle.store().clone(), rules_in_days);
    assert_eq!(turn(&world, &mut again).await, []);
}

#[tokio::test]
async fn a_clock_that_was_ahead_leaves_no_rule_unsaid() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let mut watch = world.lifecycle.expiry_watch();
    world.create(upload(&leaf_of(&world, &ca, 50))).await;
    turn(&world, &mut watch).await;
    let right = world.clock.clone();
    let now = world.lifecycle.store().clock().now();
    right.set(now.after(DAY * 365));
    assert_eq!(rules(&turn(&world, &mut world.lifecycle.expiry_watch()).await), ["end"]);
    right.set(now.after(DAY));
    let mut watch = world.lifecycle.expiry_watch();
    assert_eq!(turn(&world, &mut watch).await, []);
    assert_eq!(alerts(world.lifecycle.store()).await.len(), 1, "it may be the clock of this start");
    world.clock.advance(Duration::from_secs(11 * 60));
    assert_eq!(turn(&world, &mut watch).await, []);
    assert_eq!(alerts(world.lifecycle.store()).await, [], "what was said of the future is void");
    right.set(now.after(DAY * 41));
    assert_eq!(rules(&turn(&world, &mut world.lifecycle.expiry_watch()).await), ["1/5"]);
}

#[tokio::test]
async fn keys_end_and_grant_nothing_beyond() {
    let world = World::new().await;
    let now = world.lifecycle.store().clock().now();
    let key = |expires_at, scopes| NewKey { name: "k", scopes, projects: None, expires_at };
    let past = world.lifecycle.create_key(&world.admin, &key(Some(now), &[Scope::Tls])).await;
    assert!(matches!(past, Err(certward_lifecycle::KeyError::EndsInThePast)), "{past:?}");
    let end = now.after(DAY * 100);
    let made = world.lifecycle.create_key(&world.admin, &key(Some(end), &[Scope::Admin])).await.unwrap().0;
    for longer in [None, Some(end.after(Duration::from_millis(1)))] {
        let refused = world.lifecycle.create_key(&made.key, &key(longer, &[Scope::Tls])).await;
        assert!(matches!(refused, Err(certward_lifecycle::KeyError::GrantsMore)), "{longer:?}");
    }
    world.lifecycle.create_key(&made.key, &key(Some(end), &[Scope::Tls])).await.unwrap();
    world.clock.set(end);
    let said = turn(&world, &mut world.lifecycle.expiry_watch()).await;
    assert_eq!(rules(&said), ["end", "end"]);
    assert!(said.iter().all(|alert| alert.cause.kind() == AlertKind::Ending(EndingKind::ApiKey)));
    let refused = world.lifecycle.revoke_key(&made.key, &world.admin).await;
    assert!(matches!(refused, Err(certward_lifecycle::KeyError::Denied(_))), "{refused:?}");
    world.lifecycle.revoke_key(&world.admin, &made.key).await.unwrap();
    assert!(!listed(&world).await.contains(&(EndingKind::ApiKey, made.key.to_string())));
}

#[tokio::test]
async fn the_certificate_of_an_api_is_listed_by_its_node() {
    let (world, ca) = (World::new().await, Authority::new("CA"));
    let node = certward_store::NodeId::parse("n1").unwrap();
    let mut watch = world.lifecycle.expiry_watch();
    let first = leaf_of(&world, &ca, 50);
    watch.list_api_certificate(&node, Some(&first.der)).await.unwrap();
    world.clock.advance(DAY * 50);
    let said = turn(&world, &mut watch).await;
    assert_eq!(
        (said[0].cause.kind(), said[0].owners.as_slice()),
        (AlertKind::Ending(EndingKind::ApiCertificate), &["n1".to_owned()][..])
    );
    let second = leaf_of(&world, &ca, 50);
    watch.list_api_certificate(&node, Some(&second.der)).await.unwrap();
    assert!(alerts(world.lifecycle.store()).await[0].withdrawn_at.is_some());
    watch.list_api_certificate(&node, None).await.unwrap();
    assert_eq!(listed(&world).await, []);
}

/// Gives the answers in turn, then accepts.
#[derive(Debug, Default)]
struct Receiver {
    answers: Mutex<VecDeque<Undelivered>>,
    /// Message ids by the URL.
    received: Mutex<BTreeMap<String, Vec<String>>>,
}

impl AlertSender for Receiver {
    fn send<'a>(&'a self, to: &'a AlertReceiver, message: &'a AlertMessage, _: Timestamp) -> Sending<'a> {
        let AlertReceiver::Webhook { url, .. } = to else { panic!("a webhook") };
        let mut received = self.received.lock().unwrap();
        received.entry(url.to_string()).or_default().push(message.id.clone());
        let answer = self.answers.lock().unwrap().pop_front().map_or(Ok(()), Err);
        Box::pin(std::future::ready(answer))
    }

    fn may_reach_any(&self) -> bool {
        true
    }
}

fn refusal(is_final: bool) -> Undelivered {
    Undelivered { code: "status", status: Some(503), sentence: "no".into(), is_final }
}

/// A world whose certificate ends in 50 days, and a channel.
async fn with_a_channel(receiver: &Arc<Receiver>) -> (World, AlertDelivery) {
    let mut world = World::new().await;
    world.lifecycle = world.lifecycle.clone().with_alert_sender(Arc::clone(receiver) as Arc<dyn AlertSender>);
    let url = WebhookUrl::parse("http://127.0.0.1:9/").unwrap();
    let secret = WebhookSecret::generate(&Zeroizing::new([0; 32]));
    let receiver = AlertReceiver::Webhook { url, secret };
    let new = NewAlertChannel { name: String::new(), project: None, receiver };
    world.lifecycle.create_alert_channel(&world.admin, new).await.unwrap();
    world.create(upload(&leaf_of(&world, &Authority::new("CA"), 50))).await;
    let delivery = world.lifecycle.alert_delivery();
    (world, delivery)
}

fn received(receiver: &Receiver) -> Vec<String> {
    receiver.received.lock().unwrap().values().flatten().cloned().collect()
}

#[tokio::test]
async fn an_alert_is_sent_until_it_is_accepted_always_with_one_id() {
    let receiver = Arc::new(Receiver::default());
    let (world, delivery) = with_a_channel(&receiver).await;
    receiver.answers.lock().unwrap().extend([refusal(false), refusal(false)]);
    world.clock.advance(DAY * 41);
    turn(&world, &mut world.lifecycle.expiry_watch()).await;
    let retried = Delivered { retried: 1, ..Delivered::default() };
    assert_eq!(delivery.turn().await.unwrap(), retried);
    assert_eq!(delivery.turn().await.unwrap(), Delivered::default(), "not at once");
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(delivery.turn().await.unwrap(), retried);
    world.clock.advance(Duration::from_secs(6 * 60));
    let delivered = Delivered { delivered: 1, ..Delivered::default() };
    assert_eq!(delivery.turn().await.unwrap(), delivered);
    world.clock.advance(DAY);
    assert_eq!(delivery.turn().await.unwrap(), Delivered::default());
    let id = alerts(world.lifecycle.store()).await[0].id.to_string();
    assert_eq!(received(&receiver), [id.clone(), id.clone(), id]);
}

#[tokio::test]
async fn what_no_receiver_accepts_is_given_up_and_visible() {
    for (is_final, attempts) in [(true, 1), (false, 10)] {
        let receiver = Arc::new(Receiver::default());
        let (world, delivery) = with_a_channel(&receiver).await;
        receiver.answers.lock().unwrap().extend((0..20).map(|_| refusal(is_final)));
        world.clock.advance(DAY * 41);
        turn(&world, &mut world.lifecycle.expiry_watch()).await;
        for _ in 0..100 {
            delivery.turn().await.unwrap();
            world.clock.advance(Duration::from_secs(60 * 60));
        }
        let store = world.lifecycle.store();
        let alert = alerts(store).await.pop().unwrap();
        let state = store.read().deliveries(&[&alert.id]).await.unwrap().pop().unwrap();
        assert_eq!((state.state, state.attempts), (DeliveryState::Failed, attempts));
        assert_eq!(state.failure.as_deref(), Some("status 503"));
        assert_eq!(received(&receiver).len(), attempts as usize);
    }
}

#[tokio::test]
async fn a_replacement_cancels_what_is_not_delivered() {
    let receiver = Arc::new(Receiver::default());
    let (world, delivery) = with_a_channel(&receiver).await;
    let mut watch = world.lifecycle.expiry_watch();
    receiver.answers.lock().unwrap().push_back(refusal(false));
    world.clock.advance(DAY * 41);
    turn(&world, &mut watch).await;
    delivery.turn().await.unwrap();
    world.replace(upload(&leaf_of(&world, &Authority::new("CA"), 50))).await;
    turn(&world, &mut watch).await;
    world.clock.advance(DAY);
    delivery.turn().await.unwrap();
    assert_eq!(received(&receiver).len(), 1);
}

#[tokio::test]
async fn of_two_nodes_one_sends() {
    let receiver = Arc::new(Receiver::default());
    let (world, delivery) = with_a_channel(&receiver).await;
    let store = world.lifecycle.store().clone();
    let other =
        AlertDelivery::new(store, Arc::clone(&receiver) as Arc<dyn AlertSender>, Arc::new(SystemEntropy));
    world.clock.advance(DAY * 41);
    let now = world.lifecycle.store().clock().now();
    let (mut first, mut second) = (world.lifecycle.expiry_watch(), world.lifecycle.expiry_watch());
    let (first, second) = tokio::join!(first.turn(now), second.turn(now));
    assert_eq!(first.unwrap().len() + second.unwrap().len(), 1);
    let (first, second) = tokio::join!(delivery.turn(), other.turn());
    assert_eq!(first.unwrap().delivered + second.unwrap().delivered, 1);
    assert_eq!(received(&receiver).len(), 1);
}
