//! Lists what ends, and records the alerts whose rules apply. Any node may do it; one at a time
//! does, and each alert is recorded, logged and sent once.

use std::time::Duration;

use certward_store::{
    Alert, DeploymentId, Ending, EndingKind, EndingOwner, EndingPage, EndingScope, ListedEnding, NodeId,
    Store, StoreError, Timestamp, Tx, VersionId,
};

use crate::expiry::{
    clock_watch::{ClockWatch, JUMP_MIN_MS},
    listing,
    message::Statement,
    rules::{ExpiryRules, Lifetime},
    span::span,
};

/// A chain is read in 0.1 ms: a transaction of 10 ms.
const LISTED_AT_ONCE: u32 = 50;
const RECORDED_AT_ONCE: u32 = 100;
/// Without reading certificates.
const PLANNED_AT_ONCE: u32 = 500;
/// Lines in the log about what ends, at a start.
const SAID_AT_START: usize = 20;
const LOOKED_AT_AT_START: u32 = 500;
/// Between looks at the clock, in milliseconds.
const LOOK_INTERVAL_MS: i64 = 60_000;
/// A machine without a clock of its own begins behind, and is set right soon: what was said stays.
const BELIEVED_AFTER: Duration = Duration::from_secs(10 * 60);

/// The expiry task's work.
#[derive(Debug)]
pub struct ExpiryWatch {
    store: Store,
    rules: ExpiryRules,
    clock: ClockWatch,
    has_begun: bool,
    looked_at: Option<Timestamp>,
    /// The uptime when the clock was found to be behind.
    behind_since: Option<Duration>,
    /// What [`ExpiryWatch::list_api_certificate`] has listed.
    api_certificate: Option<Option<Ending>>,
}

impl ExpiryWatch {
    /// All nodes should have the same rules.
    pub fn new(store: Store, rules: ExpiryRules) -> Self {
        let clock = ClockWatch::default();
        Self {
            store,
            rules,
            clock,
            has_begun: false,
            looked_at: None,
            behind_since: None,
            api_certificate: None,
        }
    }

    /// Lists the deployments that changed, and records what is due. Returns the new alerts.
    ///
    /// The first time, it says how the clock stands to the store, plans again if the rules are
    /// others, and logs all that ends soon or has ended.
    pub async fn turn(&mut self, now: Timestamp) -> Result<Vec<Alert>, StoreError> {
        self.look_at_clock(now).await?;
        if self.has_begun {
            return self.list_and_record(now).await;
        }
        say_offset(self.store.clock().now().0.saturating_sub(now.0));
        self.plan_by_these_rules(now).await?;
        let alerts = self.list_and_record(now).await?;
        self.say_all(now, &alerts).await?;
        self.has_begun = true;
        Ok(alerts)
    }

    /// Lists the certificate of this node's API; `None`: it has none.
    pub async fn list_api_certificate(
        &mut self,
        node: &NodeId,
        leaf: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let ending = leaf.and_then(|der| listing::of_certificate(EndingKind::ApiCertificate, der));
        if self.api_certificate.as_ref() == Some(&ending) {
            return Ok(());
        }
        let mut tx = self.store.begin().await?;
        tx.hold_expiry().await?;
        let planned = self.planned(ending.iter().cloned().collect(), tx.now());
        tx.set_endings(&EndingOwner::node(node), &planned).await?;
        tx.commit().await?;
        self.api_certificate = Some(ending);
        Ok(())
    }

    async fn plan_by_these_rules(&self, now: Timestamp) -> Result<(), StoreError> {
        if self.store.read().expiry_marks().await?.rules == self.rules.mark() {
            return Ok(());
        }
        self.plan_again(now).await?;
        let mut tx = self.store.begin().await?;
        tx.hold_expiry().await?;
        tx.set_rules_mark(self.rules.mark()).await?;
        tx.commit().await
    }

    async fn list_and_record(&self, now: Timestamp) -> Result<Vec<Alert>, StoreError> {
        let work = self.store.read().expiry_work(now).await?;
        let listed = if work.listing { self.list_all(now).await } else { Ok(()) };
        let mut alerts = Vec::new();
        // What was listed just now may be due; what could not be listed holds up nothing.
        if work.rules || work.listing {
            while self.record_some(now, &mut alerts).await? {}
        }
        listed.map(|()| alerts)
    }

    async fn list_all(&self, now: Timestamp) -> Result<(), StoreError> {
        while self.list_some(now).await? {}
        Ok(())
    }

    /// Logs what has ended or ends soon, earliest first, except what `alerts` have logged.
    async fn say_all(&self, now: Timestamp, alerts: &[Alert]) -> Result<(), StoreError> {
        let until = self.rules.horizon(now);
        let page = EndingPage { until, after: None, limit: LOOKED_AT_AT_START };
        let found = self.store.read().endings(&EndingScope::All, page).await?;
        let applies = |found: &&ListedEnding| {
            self.rules.applying(found.ending.kind, Lifetime::of(&found.ending), now).is_some()
        };
        let is_logged = |found: &&ListedEnding| alerts.iter().any(|alert| alert.item == found.ending.item);
        let applying: Vec<_> = found.iter().filter(applies).filter(|found| !is_logged(found)).collect();
        applying.iter().take(SAID_AT_START).for_each(|ending| say(&Statement::of_listed(ending, now)));
        if let Some(more) = applying.len().checked_sub(SAID_AT_START).filter(|more| *more > 0) {
            tracing::warn!(more, "more certificates or keys end soon or have ended; see certward expiring");
        }
        Ok(())
    }

    /// Whether more may remain.
    async fn list_some(&self, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.store.begin().await?;
        tx.hold_expiry().await?;
        let changed = tx.unlisted(LISTED_AT_ONCE).await?;
        for (id, project, version) in &changed {
            match self.endings_of(id, *version).await {
                Ok(endings) => {
                    let owner = EndingOwner::deployment(id, project);
                    tx.set_endings(&owner, &self.planned(endings, now)).await?;
                }
                // Alone: the others are listed.
                Err(StoreError::Corrupt(what)) => {
                    tracing::error!(deployment.id = %id, "the certificate's end is not known: {what}");
                }
                Err(error) => return Err(error),
            }
            tx.set_listed(id, *version).await?;
        }
        tx.commit().await?;
        Ok(changed.len() == LISTED_AT_ONCE as usize)
    }

    /// Outside of the transaction, which an unreadable upload would end.
    async fn endings_of(
        &self,
        id: &DeploymentId,
        version: Option<VersionId>,
    ) -> Result<Vec<Ending>, StoreError> {
        let Some(version) = version else { return Ok(Vec::new()) };
        let upload = self.store.read().version(id, version).await?;
        Ok(upload.as_ref().map_or_else(Vec::new, listing::of_version))
    }

    /// Whether more may remain.
    async fn record_some(&self, now: Timestamp, alerts: &mut Vec<Alert>) -> Result<bool, StoreError> {
        let mut tx = self.store.begin().await?;
        tx.hold_expiry().await?;
        let mut due = tx.due_endings(now, RECORDED_AT_ONCE).await?;
        // As they are removed: two orders could deadlock.
        due.sort_by_key(|ending| ending.number);
        let jump = self.clock.recent(self.store.clock().uptime());
        let mut recorded = Vec::new();
        for ending in &due {
            recorded.extend(self.record(&mut tx, ending, now, jump).await?);
        }
        tx.commit().await?;
        // Once for all nodes: the others find it recorded.
        recorded.iter().filter_map(Statement::of).for_each(|statement| say(&statement));
        alerts.extend(recorded);
        Ok(due.len() == RECORDED_AT_ONCE as usize)
    }

    async fn record(
        &self,
        tx: &mut Tx,
        ending: &ListedEnding,
        now: Timestamp,
        jump: i64,
    ) -> Result<Option<Alert>, StoreError> {
        let (kind, life) = (ending.ending.kind, Lifetime::of(&ending.ending));
        // Removed since it was read, or locked from here on.
        if !tx.set_due(ending.number, self.rules.next(kind, life, now)).await? {
            return Ok(None);
        }
        let Some(rule) = self.rules.applying(kind, life, now) else { return Ok(None) };
        let owners = tx.ending_owners(ending).await?;
        tx.record_alert(ending, &owners, &rule.to_string(), now, jump).await
    }

    async fn look_at_clock(&mut self, now: Timestamp) -> Result<(), StoreError> {
        if self.looked_at.is_some_and(|at| (now.0 - at.0).abs() < LOOK_INTERVAL_MS) {
            return Ok(());
        }
        let newest = self.store.read().expiry_marks().await?.clock;
        let newest = Some(newest).filter(|newest| newest.0 > 0);
        let uptime = self.store.clock().uptime();
        if let Some(jump) = self.clock.observe(now, uptime, newest) {
            say_jump(jump, self.looked_at.is_none());
            self.behind_since = (jump < 0).then_some(uptime);
        }
        match self.behind_since {
            // The mark stays: another process must see it, too.
            Some(since) if uptime.saturating_sub(since) < BELIEVED_AFTER => {}
            behind => {
                if behind.is_some() {
                    self.forget_future(now).await?;
                    self.behind_since = None;
                }
                let mut tx = self.store.begin().await?;
                tx.set_clock_mark(now).await?;
                tx.commit().await?;
            }
        }
        // Another node may have removed it, if this one was away for long.
        self.api_certificate = None;
        self.looked_at = Some(now);
        Ok(())
    }

    /// The clock was ahead: its alerts are void, and the rules apply again when it is time.
    async fn forget_future(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        tx.hold_expiry().await?;
        tx.remove_alerts_after(now).await?;
        tx.commit().await?;
        self.plan_again(now).await
    }

    async fn plan_again(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut after = 0;
        loop {
            let mut tx = self.store.begin().await?;
            tx.hold_expiry().await?;
            let endings = tx.endings_after(after, PLANNED_AT_ONCE).await?;
            for ending in &endings {
                tx.set_due(ending.number, self.first(&ending.ending, now)).await?;
            }
            tx.commit().await?;
            match endings.last() {
                Some(last) if endings.len() == PLANNED_AT_ONCE as usize => after = last.number,
                _ => return Ok(()),
            }
        }
    }

    fn planned(&self, endings: Vec<Ending>, now: Timestamp) -> Vec<(Ending, Option<Timestamp>)> {
        let plan = |ending: Ending| {
            let due = self.first(&ending, now);
            (ending, due)
        };
        endings.into_iter().map(plan).collect()
    }

    fn first(&self, ending: &Ending, now: Timestamp) -> Option<Timestamp> {
        self.rules.first(ending.kind, Lifetime::of(ending), now)
    }
}

fn say(statement: &Statement<'_>) {
    let Statement { item, owner, .. } = statement;
    let (ends_at, summary) = (statement.ends_at(), statement.summary());
    match (statement.has_ended(), EndingKind::OF_DEPLOYMENTS.contains(&statement.kind)) {
        (true, true) => {
            tracing::error!(deployment.id = owner, certificate.sha256 = item, ends_at, "{summary}")
        }
        (false, true) => {
            tracing::warn!(deployment.id = owner, certificate.sha256 = item, ends_at, "{summary}")
        }
        (true, false) => tracing::error!(owner, ends_at, "{summary}"),
        (false, false) => tracing::warn!(owner, ends_at, "{summary}"),
    }
}

/// Of this node's clock to the database's.
fn say_offset(offset: i64) {
    if offset.saturating_abs() >= JUMP_MIN_MS {
        let (by, side) = (span(offset.saturating_abs()), if offset > 0 { "ahead of" } else { "behind" });
        tracing::warn!(
            "this node's clock is {by} {side} the database's: check both; certificates stay in service"
        );
    }
}

/// A forward jump at a start may be the time that certward did not run.
fn say_jump(jump: i64, is_start: bool) {
    let by = span(jump.saturating_abs());
    match (jump > 0, is_start) {
        (true, true) => tracing::warn!(
            "the store was last in use {by} ago: if certward was not stopped for that long, the clock is wrong"
        ),
        (true, false) => {
            tracing::warn!("the clock moved forward by {by}: check it; certificates stay in service")
        }
        (false, true) => tracing::warn!(
            "the clock is {by} behind the newest time in the store: check it; certificates stay in service"
        ),
        (false, false) => {
            tracing::warn!("the clock moved back by {by}: check it; certificates stay in service")
        }
    }
}
