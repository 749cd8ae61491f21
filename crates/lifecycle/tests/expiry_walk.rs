//! A simulated clock walks years over deployments that renew in time, late or never, with two
//! nodes and restarts, beside a model of whole milliseconds. The counts are in `effort.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "what fails here fails the test, and says how much it did"
)]

mod support;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    sync::Arc,
};

use certward_lifecycle::{ExpiryWatch, Handling, Lifecycle, NewDeployment, SystemEntropy};
use certward_pki::HostName;
use certward_store::{
    Address, Alert, AlertPage, ApiKey, DeploymentId, DeploymentRef, DeploymentSpec, MasterKey, Servers,
    Store, Timestamp, UpstreamList,
};
use certward_test_support::{Authority, HandClock, PostgresServer, effort};
use support::{FakeGateway, one_way, settings};
use time::OffsetDateTime;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// 2026-01-01.
const START: i64 = 1_767_225_600_000;
/// A restart of one node after so many events.
const RESTART_EVERY: usize = 37;
/// Both nodes and the store, where it is embedded.
const REOPEN_EVERY: usize = 500;

/// What an owner does about its certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// At a third of the lifetime.
    Healthy,
    /// When a fifteenth is left.
    Late,
    /// Two days after the end.
    Forgetful,
}

/// When an owner's next certificate comes, by deployment.
type Events = BinaryHeap<Reverse<(i64, usize)>>;

/// Whole milliseconds left, and the rule.
fn moments(lifetime: i64) -> [(i64, &'static str); 4] {
    [(lifetime / 5, "1/5"), (lifetime / 10, "1/10"), (lifetime / 30, "1/30"), (0, "end")]
}

struct Walk {
    address: Address,
    master_key: MasterKey,
    clock: Arc<HandClock>,
    lifecycle: Lifecycle,
    admin: ApiKey,
    ca: Authority,
    nodes: [ExpiryWatch; 2],
    deployments: Vec<(DeploymentId, Habit, i64)>,
    /// By fingerprint, rule and time: what must have been said.
    expected: BTreeSet<(String, &'static str, i64)>,
    /// Of the certificates in service: their rules to come, earliest first.
    coming: BTreeMap<i64, Vec<(usize, &'static str)>>,
    /// The certificate in service.
    fingerprints: Vec<String>,
}

fn lifecycle_on(store: Store) -> Lifecycle {
    let gateway = Arc::new(FakeGateway::default());
    Lifecycle::new(store, gateway.clone(), gateway, Arc::new(SystemEntropy), settings())
}

fn rule_of(alert: &Alert) -> &str {
    &alert.cause.applied().unwrap().rule
}

impl Walk {
    async fn new(address: Address, of_47_days: usize, of_6_days: usize) -> Self {
        let (clock, master_key) = (Arc::new(HandClock::at(Timestamp(START))), MasterKey::generate());
        let store = Store::init(&address, &master_key, clock.clone()).await.unwrap();
        let admin = Lifecycle::create_first_key(&store).await.unwrap().0.key;
        let lifecycle = lifecycle_on(store);
        let habits = [Habit::Healthy, Habit::Healthy, Habit::Late, Habit::Healthy, Habit::Forgetful];
        let mut deployments = Vec::new();
        for number in 0..of_47_days + of_6_days {
            let id = DeploymentId::parse(&format!("d{number}")).unwrap();
            let upstream = UpstreamList::parse("127.0.0.1:1883").unwrap();
            let hosts = vec![HostName::parse(&format!("d{number}.example.com")).unwrap()];
            let spec = DeploymentSpec { hosts, ..DeploymentSpec::new(upstream) };
            let new = NewDeployment { id: Some(id.clone()), project: None, spec };
            lifecycle.create_deployment(&admin, new).await.unwrap();
            let days = if number < of_47_days { 47 } else { 6 };
            deployments.push((id, habits[number % habits.len()], days * DAY_MS));
        }
        let nodes = [lifecycle.expiry_watch(), lifecycle.expiry_watch()];
        let fingerprints = vec![String::new(); deployments.len()];
        let (ca, expected, coming) = (Authority::new("CA"), BTreeSet::new(), BTreeMap::new());
        Self {
            address,
            master_key,
            clock,
            lifecycle,
            admin,
            ca,
            nodes,
            deployments,
            expected,
            coming,
            fingerprints,
        }
    }

    /// A new certificate, valid from now on. Returns when the next one comes.
    async fn renew(&mut self, at: usize, now: i64) -> i64 {
        let (id, habit, lifetime) = self.deployments[at].clone();
        let time = |ms: i64| OffsetDateTime::from_unix_timestamp(ms / 1000).unwrap();
        let host = format!("{id}.example.com");
        let leaf = self.ca.server_with(&[&host], |params| {
            (params.not_before, params.not_after) = (time(now), time(now + lifetime));
        });
        let found = self.lifecycle.store().read().deployment(&id).await.unwrap().unwrap();
        let reference: DeploymentRef = found.reference();
        let upload = Arc::new(one_way(&leaf));
        match self.fingerprints[at].is_empty() {
            true => {
                self.lifecycle.create_tls(&self.admin, &reference, upload, Handling::Lenient).await.unwrap()
            }
            false => self
                .lifecycle
                .replace_tls(&self.admin, &reference, upload, Handling::Lenient, None)
                .await
                .unwrap(),
        };
        for coming in self.coming.values_mut() {
            coming.retain(|(of, _)| *of != at);
        }
        self.coming.retain(|_, coming| !coming.is_empty());
        for (left, rule) in moments(lifetime) {
            self.coming.entry(now + lifetime - left).or_default().push((at, rule));
        }
        self.fingerprints[at] = certward_pki::fingerprint(&leaf.der);
        now + match habit {
            Habit::Healthy => lifetime - lifetime / 3,
            Habit::Late => lifetime - lifetime / 15,
            Habit::Forgetful => lifetime + 2 * DAY_MS,
        }
    }

    async fn turn(&mut self, now: i64) {
        self.clock.set(Timestamp(now));
        let [first, second] = &mut self.nodes;
        let (first, second) = tokio::join!(first.turn(Timestamp(now)), second.turn(Timestamp(now)));
        let mut said: Vec<(String, String, i64)> = Vec::new();
        for alert in first.unwrap().into_iter().chain(second.unwrap()) {
            let rule = alert.cause.applied().unwrap().rule.clone();
            said.push((alert.item, rule, alert.at.0));
        }
        said.sort();
        let due = self.coming.remove(&now).unwrap_or_default();
        let mut due: Vec<_> =
            due.into_iter().map(|(at, rule)| (self.fingerprints[at].clone(), rule, now)).collect();
        due.sort();
        let shown: Vec<_> = said.iter().map(|(item, rule, at)| (item.clone(), rule.as_str(), *at)).collect();
        assert_eq!(shown, due, "at {now}");
        self.expected.extend(due);
    }

    async fn restart(&mut self, event: usize) {
        if event.is_multiple_of(REOPEN_EVERY) && matches!(self.address, Address::Embedded(_)) {
            self.lifecycle.store().close().await;
            let store = Store::open(&self.address, &self.master_key, self.clock.clone()).await.unwrap();
            self.lifecycle = lifecycle_on(store);
            self.nodes = [self.lifecycle.expiry_watch(), self.lifecycle.expiry_watch()];
        } else if event.is_multiple_of(RESTART_EVERY) {
            self.nodes[event % 2] = self.lifecycle.expiry_watch();
        }
    }

    /// Everything that is stored, against the model.
    async fn check(&self) {
        let (mut stored, mut before) = (Vec::new(), None);
        loop {
            let page = AlertPage { projects: None, before: before.take(), limit: 1_000 };
            let alerts = self.lifecycle.store().read().alerts(&page).await.unwrap();
            let Some(last) = alerts.last() else { break };
            before = Some((last.at, last.id.clone()));
            stored.extend(alerts);
        }
        let found: BTreeSet<_> =
            stored.iter().map(|alert| (alert.item.clone(), rule_of(alert), alert.at.0)).collect();
        assert_eq!(found.len(), stored.len(), "each once");
        assert_eq!(found, self.expected);
        let owners: BTreeSet<&str> = stored.iter().map(|alert| alert.owners[0].as_str()).collect();
        for (id, habit, _) in &self.deployments {
            assert_eq!(owners.contains(id.as_str()), *habit != Habit::Healthy, "{id}: {habit:?}");
        }
    }
}

async fn walk(address: Address, (of_47_days, of_6_days, days): (usize, usize, u32)) {
    let mut walk = Walk::new(address, of_47_days, of_6_days).await;
    let end = START + i64::from(days) * DAY_MS;
    // They begin apart from each other, by whole seconds.
    let apart = |at: usize| START + (at as i64) * 977_000;
    let mut renewals: Events = (0..walk.deployments.len()).map(|at| Reverse((apart(at), at))).collect();
    let mut event = 0;
    loop {
        let renewal = renewals.peek().map_or(i64::MAX, |Reverse((time, _))| *time);
        let rule = walk.coming.keys().next().copied().unwrap_or(i64::MAX);
        let now = renewal.min(rule);
        if now > end {
            break;
        }
        walk.clock.set(Timestamp(now));
        // Before the renewal: what is due at that very moment is said.
        if rule <= now {
            walk.turn(now).await;
        }
        while let Some(Reverse((time, at))) =
            renewals.peek().copied().filter(|Reverse((time, _))| *time <= now)
        {
            renewals.pop();
            let next = walk.renew(at, time).await;
            renewals.push(Reverse((next, at)));
        }
        walk.turn(now).await;
        event += 1;
        walk.restart(event).await;
    }
    walk.check().await;
    println!("{event} events, {} alerts", walk.expected.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_is_said_once_and_in_time_over_years() {
    let folder = tempfile::tempdir().unwrap();
    walk(Address::Embedded(folder.path().to_owned()), effort().expiry_walk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_is_said_once_and_in_time_on_postgres() {
    let server = PostgresServer::shared();
    let address = Address::Postgres(Servers::parse([server.database()]).unwrap());
    let (of_47_days, of_6_days, days) = effort().expiry_walk;
    // Its changes take longer.
    walk(address, (of_47_days.div_ceil(10), of_6_days.div_ceil(10), days.min(365))).await;
}
