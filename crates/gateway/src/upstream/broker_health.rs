//! The brokers that devices of this node cannot use: noticed, logged, and reported to the store.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use certward_store::{BrokerTrouble, DeploymentId, DeploymentSpec, Timestamp, TroubleReport};
use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

use super::{
    broker::{BrokerSettings, DeploymentBroker},
    encounters::{Encounters, Trouble, Turn},
    trouble_log::{TroubleLog, log_more, log_over, log_trouble},
    unreachable::Unreachable,
};
use crate::{
    Protocol,
    observe::{
        log_throttle::LogThrottles,
        metrics::{Metrics, NOT_CONFIGURED},
    },
};

/// Some 500 bytes each.
const BROKERS_MAX: usize = 10_000;
/// Rows of one transaction.
const REPORTED_AT_ONCE: usize = 200;
/// A third of the time for which a report is listed.
const REPEAT_INTERVAL: Duration = Duration::from_secs(60);
/// Repeated lines a minute; the rest is one line.
const LINES_MAX: usize = 32;

#[derive(Debug)]
pub(crate) struct BrokerHealth {
    table: Mutex<Table>,
    /// Of the table: usually empty, and not locked then.
    len: AtomicUsize,
    throttle: LogThrottles<(BrokerKey, &'static str)>,
    metrics: Arc<Metrics>,
}

type BrokerKey = (DeploymentId, Protocol);

#[derive(Debug, Default)]
struct Table {
    brokers: HashMap<BrokerKey, MetBroker>,
    /// Reported, and over since.
    over: HashSet<BrokerKey>,
}

#[derive(Debug)]
struct MetBroker {
    settings: BrokerSettings,
    encounters: Encounters,
    log: TroubleLog,
    reported: Option<Reported>,
}

#[derive(Debug, Clone, Copy)]
struct Reported {
    at: Instant,
    reason: &'static str,
}

impl BrokerHealth {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { table: Mutex::default(), len: AtomicUsize::new(0), throttle: LogThrottles::default(), metrics }
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// The deployment has no address for the device's protocol.
    pub(crate) fn is_not_configured(&self, broker: DeploymentBroker<'_>, at: Timestamp) {
        self.failed(
            broker,
            NOT_CONFIGURED,
            "the deployment has none for this listener's protocol".into(),
            at,
        );
    }

    pub(crate) fn is_unreachable(&self, broker: DeploymentBroker<'_>, why: &Unreachable, at: Timestamp) {
        self.failed(broker, why.reason(), why.to_string(), at);
    }

    fn failed(&self, broker: DeploymentBroker<'_>, reason: &'static str, error: String, at: Timestamp) {
        let now = Instant::now();
        self.meet(broker, |encounters| encounters.failed(reason, error, at, now));
    }

    pub(crate) fn connected(&self, broker: DeploymentBroker<'_>) {
        self.meet_known(broker, Encounters::connected);
    }

    /// The broker sent its first byte.
    pub(crate) fn answered(&self, broker: DeploymentBroker<'_>) {
        self.meet_known(broker, Encounters::answered);
    }

    /// A connection ended without a byte of the broker.
    pub(crate) fn unanswered(&self, broker: DeploymentBroker<'_>, at: Timestamp) {
        let now = Instant::now();
        self.meet(broker, |encounters| encounters.unanswered(at, now));
    }

    /// The broker ended a connection that it had answered.
    pub(crate) fn ended(&self, broker: DeploymentBroker<'_>) {
        let now = Instant::now();
        self.meet(broker, |encounters| {
            encounters.ended(now);
            None
        });
    }

    /// The deployment has these settings now, or is gone.
    pub(crate) fn follow(&self, deployment: &DeploymentId, spec: Option<&DeploymentSpec>) {
        if self.len() == 0 {
            return;
        }
        let mut table = self.table.lock();
        for protocol in [Protocol::Mqtts, Protocol::Wss] {
            let key = (deployment.clone(), protocol);
            let has_changed = |known: &MetBroker| {
                spec.is_none_or(|spec| {
                    !DeploymentBroker { deployment, protocol, spec }.is_of(&known.settings)
                })
            };
            if table.brokers.get(&key).is_some_and(has_changed) {
                self.forget(&mut table, &key);
            }
        }
        self.len.store(table.brokers.len(), Ordering::Relaxed);
    }

    /// Drops what is over. Call it periodically.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut table = self.table.lock();
        table.brokers.retain(|_, known| !known.encounters.is_forgettable(now));
        let in_use = table.brokers.len();
        table.brokers.shrink_to(2 * in_use);
        self.len.store(in_use, Ordering::Relaxed);
    }

    /// Logs troubles that last, once a minute each. Call it every few seconds.
    pub(crate) fn log(&self, now: Instant) {
        let mut lasting = Vec::new();
        for (key, known) in &mut self.table.lock().brokers {
            let Some(trouble) = &known.encounters.trouble else { continue };
            if known.log.is_due(trouble, now) {
                known.log.is_written(trouble, now);
                lasting.push((key.clone(), known.settings.clone(), trouble.clone()));
            }
        }
        for ((deployment, protocol), settings, trouble) in lasting.iter().take(LINES_MAX) {
            log_trouble(deployment, *protocol, settings, trouble);
        }
        if lasting.len() > LINES_MAX {
            log_more(lasting.len() - LINES_MAX);
        }
    }

    /// What the store does not know yet; empty if nothing. At most [`REPORTED_AT_ONCE`] of each.
    pub(crate) fn report(&self, now: Instant) -> TroubleReport {
        let table = self.table.lock();
        let over = table.over.iter().take(REPORTED_AT_ONCE);
        let over = over.map(|(id, protocol)| (id.clone(), protocol.as_str().to_owned())).collect();
        let present = table.brokers.iter().filter_map(|(key, known)| known.report(key, now));
        TroubleReport { present: present.take(REPORTED_AT_ONCE).collect(), over }
    }

    /// It was written.
    pub(crate) fn is_reported(&self, report: &TroubleReport, now: Instant) {
        let mut table = self.table.lock();
        for (deployment, listener) in &report.over {
            table.over.remove(&key(deployment, listener));
        }
        for written in &report.present {
            let key = key(&written.deployment, &written.listener);
            let known = table.brokers.get_mut(&key);
            if let Some((known, reason)) =
                known.and_then(|known| known.reason().map(|reason| (known, reason)))
            {
                // A reason that changed since is due at once.
                known.reported = (written.reason == reason).then_some(Reported { at: now, reason });
            } else {
                table.over.insert(key);
            }
        }
    }

    fn meet_known(&self, broker: DeploymentBroker<'_>, event: impl FnOnce(&mut Encounters) -> Option<Turn>) {
        if self.len() == 0 {
            return;
        }
        let key = (broker.deployment.clone(), broker.protocol);
        let mut table = self.table.lock();
        let known = table.brokers.get_mut(&key).filter(|known| broker.is_of(&known.settings));
        if let Some(turn) = known.and_then(|known| event(&mut known.encounters)) {
            self.take(&mut table, &key, turn);
        }
    }

    fn meet(&self, broker: DeploymentBroker<'_>, event: impl FnOnce(&mut Encounters) -> Option<Turn>) {
        let key = (broker.deployment.clone(), broker.protocol);
        let mut table = self.table.lock();
        if table.brokers.get(&key).is_some_and(|known| !broker.is_of(&known.settings)) {
            self.forget(&mut table, &key);
        }
        if table.brokers.len() >= BROKERS_MAX && !table.brokers.contains_key(&key) {
            return;
        }
        let known = table.brokers.entry(key.clone()).or_insert_with(|| MetBroker {
            settings: broker.settings(),
            encounters: Encounters::default(),
            log: TroubleLog::default(),
            reported: None,
        });
        let turn = event(&mut known.encounters);
        self.len.store(table.brokers.len(), Ordering::Relaxed);
        if let Some(turn) = turn {
            self.take(&mut table, &key, turn);
        }
    }

    fn take(&self, table: &mut Table, key: &BrokerKey, turn: Turn) {
        let Table { brokers, over } = table;
        let Some(known) = brokers.get_mut(key) else { return };
        let (deployment, protocol) = key;
        let now = Instant::now();
        match turn {
            Turn::Began(trouble) => {
                over.remove(key);
                self.metrics.broker_trouble(None, Some(trouble.reason));
                self.log_first(key, known, &trouble, now);
            }
            Turn::Changed(before, trouble) => {
                self.metrics.broker_trouble(Some(before), Some(trouble.reason));
                self.log_first(key, known, &trouble, now);
            }
            Turn::Over(trouble) => {
                self.metrics.broker_trouble(Some(trouble.reason), None);
                if std::mem::take(&mut known.log).was_written() {
                    log_over(deployment, *protocol, &known.settings, &trouble);
                }
                if known.reported.take().is_some() {
                    over.insert(key.clone());
                }
            }
        }
    }

    fn log_first(&self, key: &BrokerKey, known: &mut MetBroker, trouble: &Trouble, now: Instant) {
        // A broker that comes and goes, or has many deployments, must not fill the log.
        if self.throttle.now(&(key.clone(), trouble.reason), now) {
            known.log.is_written(trouble, now);
            log_trouble(&key.0, key.1, &known.settings, trouble);
        }
    }

    fn forget(&self, table: &mut Table, key: &BrokerKey) {
        let Some(known) = table.brokers.remove(key) else { return };
        if let Some(trouble) = known.encounters.trouble {
            self.metrics.broker_trouble(Some(trouble.reason), None);
        }
        if known.reported.is_some() {
            table.over.insert(key.clone());
        }
    }
}

fn key(deployment: &DeploymentId, listener: &str) -> BrokerKey {
    let protocol = if listener == Protocol::Wss.as_str() { Protocol::Wss } else { Protocol::Mqtts };
    (deployment.clone(), protocol)
}

impl MetBroker {
    fn reason(&self) -> Option<&'static str> {
        self.encounters.trouble.as_ref().map(|trouble| trouble.reason)
    }

    fn report(&self, (deployment, protocol): &BrokerKey, now: Instant) -> Option<BrokerTrouble> {
        let trouble = self.encounters.trouble.as_ref()?;
        let is_due = self.reported.is_none_or(|reported| {
            reported.reason != trouble.reason || now.saturating_duration_since(reported.at) >= REPEAT_INTERVAL
        });
        is_due.then(|| BrokerTrouble {
            deployment: deployment.clone(),
            listener: protocol.as_str().to_owned(),
            upstream: self.settings.upstream(),
            reason: trouble.reason.to_owned(),
            error: trouble.error.clone(),
            since: trouble.since,
            last_at: trouble.last_at,
            turned_away: trouble.turned_away,
            disconnected: trouble.disconnected,
        })
    }
}
