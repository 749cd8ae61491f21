//! Maintains this node's replica, and decides when it may be read.
//!
//! The rule: **a report is durable in the replica first, or durably there is no replica.** So a
//! node that starts without its store never trusts more than it last reported. A replica that
//! cannot be written is removed; while that fails no proof passes. One task writes, in feed order;
//! a transaction copies deployments and advances the mark.

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use certward_store::{
    CopyError, Deployment, DeploymentId, FeedEntry, FeedPage, FeedPosition, Generation, Replica, Store,
    StoreError,
};
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    config::{
        read_gate::{Gate, Moment},
        ticket_keys,
        tickets::KeyRing,
    },
    observe::metrics::Metrics,
    sync::backoff,
};

/// Per transaction.
const COPIED_AT_ONCE: u32 = 100;
/// Per page of a build.
const BUILD_PAGE: u32 = 500;
const DURABLE_TIMEOUT: Duration = Duration::from_secs(10);
/// They are drawn six hours ahead.
const TICKET_KEYS_INTERVAL: Duration = Duration::from_secs(60);
/// Failed writes in a row, within 1.5 s.
const WRITE_FAILURES_MAX: u32 = 3;
const REBUILD_DELAY: Duration = Duration::from_secs(60);
const REMOVE_RETRY_DELAY: Duration = Duration::from_secs(2);
/// The rebuilt replica may have the same row.
const SUSPECT_REBUILD_INTERVAL_MIN: Duration = Duration::from_secs(60 * 60);

#[derive(Debug)]
pub(crate) struct Replicator {
    replica: Replica,
    gate: Arc<Gate>,
    state: Mutex<ReplicatorState>,
    work: Notify,
    progress: watch::Sender<()>,
    /// Ticket keys of older periods are deleted.
    forgotten: AtomicI64,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct ReplicatorState {
    replica: ReplicaState,
    /// No row can be trusted; a build in progress is not enough.
    is_void: bool,
    suspicion: Suspicion,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum ReplicaState {
    /// Durably none: no mark or no file. Proofs do not wait.
    Absent,
    /// Not readable, but a start may find it: proofs wait. `queue`: rows read since.
    Building {
        queue: Vec<FeedEntry>,
    },
    /// From an earlier process; the feed since is unread.
    Stale {
        mark: Generation,
    },
    /// `queue` is not copied yet.
    InSync {
        mark: Generation,
        queue: Vec<FeedEntry>,
    },
    Broken {
        reason: String,
    },
}

#[derive(Debug, Default)]
struct Suspicion {
    is_open: bool,
    settled: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
enum ReplicationStep {
    Wait,
    Build,
    Copy(Vec<FeedEntry>),
    RebuildSuspect,
}

impl ReplicaState {
    /// Absent and broken keep no rows: a build reads the feed from before it began.
    fn follow(&mut self, rows: &[FeedEntry]) {
        match self {
            Self::Stale { mark } => *self = Self::InSync { mark: *mark, queue: rows.to_vec() },
            // A build may be ahead of the follower.
            Self::InSync { mark, queue } => {
                queue.extend(rows.iter().filter(|row| row.generation() > *mark).cloned());
            }
            Self::Building { queue } => queue.extend_from_slice(rows),
            Self::Absent | Self::Broken { .. } => {}
        }
    }

    /// Not usable any more; the mark still exists.
    fn invalidate(&mut self) {
        if matches!(self, Self::Stale { .. } | Self::InSync { .. }) {
            *self = Self::Building { queue: Vec::new() };
        }
    }

    fn copied(&mut self, up_to: Generation) {
        if let Self::InSync { mark, queue } = self {
            *mark = up_to;
            queue.retain(|row| row.generation() > up_to);
        }
    }

    fn built(&mut self, up_to: Generation) {
        if let Self::Building { queue } = self {
            let mut queue = std::mem::take(queue);
            queue.retain(|row| row.generation() > up_to);
            *self = Self::InSync { mark: up_to, queue };
        }
    }

    fn mark(&self) -> Option<Generation> {
        match self {
            Self::Stale { mark } | Self::InSync { mark, .. } => Some(*mark),
            Self::Absent | Self::Building { .. } | Self::Broken { .. } => None,
        }
    }

    fn queue(&self) -> &[FeedEntry] {
        match self {
            Self::Building { queue } | Self::InSync { queue, .. } => queue,
            Self::Absent | Self::Stale { .. } | Self::Broken { .. } => &[],
        }
    }

    /// Whether `up_to` is durable, or durably no replica exists. `None`: wait.
    fn durable(&self, up_to: Generation) -> Option<Result<(), String>> {
        match self {
            Self::Absent => Some(Ok(())),
            Self::InSync { mark, .. } => (*mark >= up_to).then_some(Ok(())),
            Self::Building { .. } | Self::Stale { .. } => None,
            Self::Broken { reason } => Some(Err(reason.clone())),
        }
    }
}

impl ReplicatorState {
    fn next(&self) -> ReplicationStep {
        match &self.replica {
            ReplicaState::Absent | ReplicaState::Building { .. } | ReplicaState::Broken { .. } => {
                ReplicationStep::Build
            }
            ReplicaState::Stale { .. } => ReplicationStep::Wait,
            ReplicaState::InSync { .. } if self.suspicion.is_open => ReplicationStep::RebuildSuspect,
            ReplicaState::InSync { queue, .. } if queue.is_empty() => ReplicationStep::Wait,
            ReplicaState::InSync { queue, .. } => {
                ReplicationStep::Copy(queue.iter().take(COPIED_AT_ONCE as usize).cloned().collect())
            }
        }
    }
}

impl Replicator {
    /// `mark`: of an opened replica.
    pub(crate) fn new(
        replica: Replica,
        mark: Option<Generation>,
        gate: Arc<Gate>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let state = match mark {
            Some(mark) => ReplicaState::Stale { mark },
            // An operator may repair it before it is built again.
            None if replica.path().exists() && !replica.is_open() => ReplicaState::Broken {
                reason: "an unusable snapshot of this node is still to be removed".to_owned(),
            },
            None => ReplicaState::Absent,
        };
        if let Some(mark) = mark {
            gate.copied_up_to(mark);
        }
        metrics.snapshot(mark.is_some());
        let (progress, _) = watch::channel(());
        Self {
            replica,
            gate,
            state: Mutex::new(ReplicatorState {
                replica: state,
                is_void: false,
                suspicion: Suspicion::default(),
            }),
            work: Notify::new(),
            progress,
            forgotten: AtomicI64::new(i64::MIN),
            metrics,
        }
    }

    /// Rows only as [`Gate::covers`] allows.
    pub(crate) fn readable(&self) -> Option<&Replica> {
        self.state().replica.mark().is_some().then_some(&self.replica)
    }

    pub(crate) fn stale_mark(&self) -> Option<Generation> {
        match self.state().replica {
            ReplicaState::Stale { mark } => Some(mark),
            _ => None,
        }
    }

    pub(crate) fn is_absent(&self) -> bool {
        self.state().replica == ReplicaState::Absent
    }

    /// Whether it is of this store and history; an unreadable one is not.
    pub(crate) async fn is_of(&self, store: &Store) -> Result<bool, StoreError> {
        match self.replica.is_of(store).await {
            Ok(is_of) => Ok(is_of),
            Err(CopyError::Store(error)) => Err(error),
            Err(CopyError::Replica(error)) => {
                tracing::warn!("this node's snapshot cannot be read: {error}");
                Ok(false)
            }
        }
    }

    /// Rows of the feed, without a gap from the mark on; call after [`Gate::announce`].
    pub(crate) fn follow(&self, rows: &[FeedEntry]) {
        self.change(|state| state.replica.follow(rows));
    }

    /// The feed cannot list the changes: not readable until rebuilt.
    pub(crate) fn invalidate(&self) {
        self.change(|state| {
            state.is_void = true;
            state.replica.invalidate();
        });
    }

    /// A row is unusable: rebuild when the store answers.
    pub(crate) fn mark_suspect(&self) {
        self.change(|state| {
            let was_settled =
                state.suspicion.settled.is_some_and(|at| at.elapsed() < SUSPECT_REBUILD_INTERVAL_MIN);
            state.suspicion.is_open |= !was_settled;
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.state().replica.queue().len()
    }

    /// Waits until exactly this generation is durable, or no replica exists. The error is one plain
    /// sentence.
    pub(crate) async fn wait_durable(&self, deployment: &Deployment) -> Result<(), String> {
        let late = || Err("this node's snapshot is not written in time".to_owned());
        let held = async {
            let mut progress = self.progress.subscribe();
            loop {
                progress.mark_unchanged();
                if let Some(held) = self.durable_now(&deployment.id, deployment.generation).await {
                    return held;
                }
                // The sender is this value's own.
                let _ = progress.changed().await;
            }
        };
        timeout(DURABLE_TIMEOUT, held).await.unwrap_or_else(|_| late())
    }

    /// Not by the mark: after a fail-over the number may be another change.
    async fn durable_now(&self, id: &DeploymentId, wanted: Generation) -> Option<Result<(), String>> {
        let held = self.state().replica.durable(Generation(i64::MIN))?;
        if held.is_err() || self.is_absent() {
            return Some(held);
        }
        match self.replica.generation_of(id).await {
            Ok(there) => (there == Some(wanted)).then_some(Ok(())),
            Err(error) => Some(Err(format!("this node's snapshot cannot be read: {error}"))),
        }
    }

    /// Waits roughly, or until no replica is usable.
    pub(crate) async fn wait_copied(&self, generation: Generation) {
        let mut progress = self.progress.subscribe();
        while self.state().replica.durable(generation).is_none() {
            let _ = progress.changed().await;
        }
    }

    /// Waits until exactly this row is durable, or no replica exists.
    pub(crate) async fn wait_durable_row(&self, newest: FeedPosition) -> Result<(), String> {
        let mut progress = self.progress.subscribe();
        loop {
            progress.mark_unchanged();
            let (held, is_absent) = {
                let ReplicatorState { replica, .. } = &*self.state();
                (replica.durable(newest.generation), *replica == ReplicaState::Absent)
            };
            match held {
                Some(Ok(())) if !is_absent => break,
                Some(held) => return held,
                None => {
                    let _ = progress.changed().await;
                }
            }
        }
        // After a fail-over it may be another change.
        match self.replica.mark_position().await {
            Ok(Some(mark)) if mark == newest => Ok(()),
            Ok(_) => Err("this node's snapshot is not at the newest change".to_owned()),
            Err(error) => Err(format!("this node's snapshot cannot be read: {error}")),
        }
    }

    /// Runs until dropped; pauses while the store does not answer.
    pub(crate) async fn run(&self, store: &Store) {
        let (mut failures, mut tries) = (0, 0);
        loop {
            let answers_again = store.answers_again();
            let Err(error) = self.keep(store, &mut failures, &mut tries).await;
            match error {
                CopyError::Store(error) => {
                    tries += 1;
                    // The follower logs that.
                    if backoff::should_log(tries) && !matches!(error, StoreError::Unavailable(_)) {
                        tracing::warn!(tries, "this node's snapshot cannot be kept: {error}; trying again");
                    }
                    backoff::wait(tries, answers_again).await;
                }
                CopyError::Replica(error) => {
                    failures += 1;
                    if failures < WRITE_FAILURES_MAX {
                        sleep(backoff::after(failures)).await;
                    } else {
                        self.give_up(&error, failures).await;
                    }
                }
            }
        }
    }

    async fn give_up(&self, error: &StoreError, failures: u32) {
        // Once per outage: a full disk would be logged every minute.
        let is_first = failures == WRITE_FAILURES_MAX;
        let path = self.replica.path().display();
        match self.replica.discard().await {
            Ok(()) => {
                self.set_state(ReplicaState::Absent);
                if is_first {
                    tracing::warn!(
                        file = %path,
                        "this node's snapshot cannot be used and is removed: {error}; until it is built again, which is tried every minute, this node serves but does not start while the database is away"
                    );
                }
                // Damage is rebuilt at once; a full disk likely stays full.
                if !is_first {
                    sleep(REBUILD_DELAY).await;
                }
            }
            Err(removing) => {
                self.set_state(ReplicaState::Broken {
                    reason: format!("this node's snapshot can neither be written nor removed: {removing}"),
                });
                if is_first {
                    tracing::error!(
                        file = %path,
                        "this node's snapshot can neither be written ({error}) nor removed ({removing}): this node proves no change until it can, for with an old snapshot it would serve what is replaced"
                    );
                }
                sleep(REMOVE_RETRY_DELAY).await;
            }
        }
    }

    async fn keep(
        &self,
        store: &Store,
        failures: &mut u32,
        tries: &mut u32,
    ) -> Result<Infallible, CopyError> {
        let mut next_ticket_keys = Instant::now();
        loop {
            let step = self.state().next();
            let is_in_sync = matches!(step, ReplicationStep::Wait | ReplicationStep::Copy(_))
                && self.stale_mark().is_none();
            if is_in_sync && Instant::now() >= next_ticket_keys {
                self.copy_ticket_keys(store).await?;
                self.replica.copy_boundaries(store).await?;
                next_ticket_keys = Instant::now() + TICKET_KEYS_INTERVAL;
            }
            if is_in_sync && self.replica.is_outdated() {
                self.replica.reseal(store).await?;
            }
            match step {
                ReplicationStep::Build => self.build(store).await?,
                ReplicationStep::Copy(rows) => self.copy(store, &rows).await?,
                ReplicationStep::RebuildSuspect => self.rebuild_suspect(store).await?,
                ReplicationStep::Wait => {
                    if is_in_sync {
                        self.forget_gone().await?;
                    }
                    tokio::select! {
                        () = self.work.notified() => {}
                        () = sleep_until(next_ticket_keys), if is_in_sync => {}
                        () = self.replica.outdated(), if is_in_sync => {}
                    }
                    continue;
                }
            }
            if *failures >= WRITE_FAILURES_MAX {
                tracing::info!("this node's snapshot is whole again");
            }
            (*failures, *tries) = (0, 0);
        }
    }

    /// Until the store answers, damaged is better than none.
    async fn rebuild_suspect(&self, store: &Store) -> Result<(), CopyError> {
        store.read().newest_generation().await.map_err(CopyError::Store)?;
        self.change(|state| {
            state.is_void = true;
            state.replica.invalidate();
            state.suspicion = Suspicion { is_open: false, settled: Some(Instant::now()) };
        });
        tracing::warn!(
            file = %self.replica.path().display(),
            "this node's snapshot is damaged, or holds what cannot be served: it is removed and built again"
        );
        Ok(())
    }

    /// Copies all pages, then the changes since. Until then there is no mark: no start reads it, no
    /// proof waits. Proofs wait again before the mark is written.
    async fn build(&self, store: &Store) -> Result<(), CopyError> {
        // Later requests to void are for the next build.
        let is_void = std::mem::take(&mut self.state().is_void);
        if let Err(error) = self.build_now(store, is_void).await {
            self.state().is_void |= is_void;
            return Err(error);
        }
        Ok(())
    }

    async fn build_now(&self, store: &Store, is_void: bool) -> Result<(), CopyError> {
        if is_void || !self.replica.is_open() {
            // Another history may have the same generations.
            self.replica.make(store).await?;
        } else {
            self.replica.forget_mark().await.map_err(CopyError::Replica)?;
        }
        // Only now the old rows are gone.
        self.set_state(ReplicaState::Absent);
        self.copy_ticket_keys(store).await?;
        self.replica.copy_boundaries(store).await?;
        let begun = store.read_as_member().newest_position().await.map_err(CopyError::Store)?;
        let mut after = None;
        loop {
            after = self.replica.copy_page(store, after.as_ref(), BUILD_PAGE).await?;
            if after.is_none() {
                break;
            }
        }
        // Proofs wait from here on; earlier ones are in the feed by now.
        self.set_state(ReplicaState::Building { queue: Vec::new() });
        let Some(end) = self.copy_changes(store, begun).await? else {
            // The rows may be of another history.
            self.change(|state| {
                state.is_void = true;
                state.replica = ReplicaState::Absent;
            });
            return Ok(());
        };
        // If voided since, the next build removes the mark.
        self.replica.copy(store, &[], Some(end)).await?;
        self.built(end.generation)
    }

    /// Copies changes until none is left; returns the last row. `None`: the feed cannot list them.
    async fn copy_changes(
        &self,
        store: &Store,
        begun: FeedPosition,
    ) -> Result<Option<FeedPosition>, CopyError> {
        let mut end = begun;
        loop {
            let read_at = self.gate.now();
            let page = store
                .read_as_member()
                .feed_after(end, end, COPIED_AT_ONCE)
                .await
                .map_err(CopyError::Store)?;
            let FeedPage::Rows(rows) = page else { return Ok(None) };
            let Some(last) = rows.last() else { return Ok(Some(end)) };
            let ids = distinct(&rows);
            self.replica.copy(store, &ids, None).await?;
            self.gate.copied(&ids, read_at);
            end = last.position;
        }
    }

    fn built(&self, end: Generation) -> Result<(), CopyError> {
        let mut is_void = false;
        self.change(|state| {
            is_void = state.is_void;
            if !is_void {
                self.gate.copied_up_to(end);
                state.replica.built(end);
            }
        });
        if !is_void {
            tracing::info!(
                "this node's snapshot is whole: it can serve and start while the database is away"
            );
        }
        Ok(())
    }

    async fn copy(&self, store: &Store, rows: &[FeedEntry]) -> Result<(), CopyError> {
        let Some(last) = rows.last() else { return Ok(()) };
        let (read_at, ids): (Moment, _) = (self.gate.now(), distinct(rows));
        self.replica.copy(store, &ids, Some(last.position)).await?;
        self.gate.copied(&ids, read_at);
        self.change(|state| {
            state.replica.copied(last.generation());
            if let ReplicaState::InSync { mark, queue } = &state.replica
                && queue.is_empty()
            {
                self.gate.copied_up_to(*mark);
            }
        });
        Ok(())
    }

    /// Drops gate entries of deleted deployments that the replica lacks.
    async fn forget_gone(&self) -> Result<(), CopyError> {
        let read_at = self.gate.now();
        for id in self.gate.gone() {
            if self.replica.generation_of(&id).await.map_err(CopyError::Replica)?.is_none() {
                self.gate.copied([&id], read_at);
            }
        }
        Ok(())
    }

    fn set_state(&self, replica: ReplicaState) {
        self.change(|state| state.replica = replica);
    }

    fn change(&self, change: impl FnOnce(&mut ReplicatorState)) {
        let mut state = self.state();
        change(&mut state);
        match state.replica {
            ReplicaState::Absent | ReplicaState::Broken { .. } => self.gate.without_replica(),
            ReplicaState::Building { .. } => self.gate.may_be_uncopied(),
            ReplicaState::Stale { .. } | ReplicaState::InSync { .. } => {}
        }
        let is_whole = state.replica.mark().is_some();
        drop(state);
        self.metrics.snapshot(is_whole);
        self.progress.send_replace(());
        self.work.notify_one();
    }

    async fn copy_ticket_keys(&self, store: &Store) -> Result<(), CopyError> {
        let (from, before) = ticket_keys::NAMES;
        self.replica.copy_secrets(store, from, before).await?;
        Ok(())
    }

    /// While the store is away nothing else deletes them.
    pub(crate) async fn forget_old_ticket_keys(&self, ring: &KeyRing) {
        let period = ring.period();
        if self.forgotten.load(Ordering::Relaxed) == period {
            return;
        }
        let Some(snapshot) = self.readable() else { return };
        match ticket_keys::forget_old(ring, snapshot).await {
            Ok(()) => self.forgotten.store(period, Ordering::Relaxed),
            Err(error) => tracing::debug!("old session ticket keys stay in the snapshot for now: {error}"),
        }
    }

    pub(crate) async fn close(&self) {
        self.replica.close().await;
    }

    fn state(&self) -> MutexGuard<'_, ReplicatorState> {
        self.state.lock()
    }
}

fn distinct(rows: &[FeedEntry]) -> Vec<DeploymentId> {
    let ids: HashSet<&DeploymentId> = rows.iter().map(|row| &row.deployment).collect();
    ids.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use certward_store::MasterKey;
    use futures_util::FutureExt;

    use super::*;

    fn replicator(mark: Option<i64>) -> Replicator {
        let snapshot = Replica::at(std::path::Path::new("/nonexistent"), &MasterKey::generate());
        Replicator::new(snapshot, mark.map(Generation), Arc::default(), Arc::default())
    }

    fn rows(generations: &[i64]) -> Vec<FeedEntry> {
        let deployment = DeploymentId::parse("d").unwrap();
        let row = |generation: &i64| FeedEntry {
            position: FeedPosition { generation: Generation(*generation), nonce: 7 },
            deployment: deployment.clone(),
        };
        generations.iter().map(row).collect()
    }

    fn stale(mark: i64) -> ReplicaState {
        ReplicaState::Stale { mark: Generation(mark) }
    }

    fn building(queue: &[i64]) -> ReplicaState {
        ReplicaState::Building { queue: rows(queue) }
    }

    fn in_sync(mark: i64, queue: &[i64]) -> ReplicaState {
        ReplicaState::InSync { mark: Generation(mark), queue: rows(queue) }
    }

    fn broken() -> ReplicaState {
        ReplicaState::Broken { reason: "neither".to_owned() }
    }

    #[test]
    fn each_event_leads_from_each_state_where_the_rule_says() {
        type Event = fn(&mut ReplicaState);
        let follow: Event = |replica| replica.follow(&rows(&[6, 7, 8]));
        let nothing_new: Event = |replica| replica.follow(&[]);
        let invalidate: Event = ReplicaState::invalidate;
        let copied: Event = |replica| replica.copied(Generation(7));
        let built: Event = |replica| replica.built(Generation(7));
        for (before, event, after) in [
            // The feed is followed from its mark.
            (stale(5), follow, in_sync(5, &[6, 7, 8])),
            (stale(5), nothing_new, in_sync(5, &[])),
            (in_sync(5, &[6]), copied, in_sync(7, &[])),
            (in_sync(5, &[6, 7, 8]), copied, in_sync(7, &[8])),
            (in_sync(7, &[]), follow, in_sync(7, &[8])),
            (building(&[]), follow, building(&[6, 7, 8])),
            (building(&[6, 7, 8]), built, in_sync(7, &[8])),
            // Even if a write in progress still copies rows.
            (stale(5), invalidate, building(&[])),
            (in_sync(5, &[6]), invalidate, building(&[])),
            (building(&[6]), invalidate, building(&[6])),
            (building(&[6]), copied, building(&[6])),
            (stale(5), copied, stale(5)),
            (ReplicaState::Absent, follow, ReplicaState::Absent),
            (ReplicaState::Absent, invalidate, ReplicaState::Absent),
            (ReplicaState::Absent, built, ReplicaState::Absent),
            (broken(), follow, broken()),
            (broken(), invalidate, broken()),
            (broken(), built, broken()),
        ] {
            let mut replica = before.clone();
            event(&mut replica);
            assert_eq!(replica, after, "from {before:?}");
        }
    }

    #[test]
    fn each_state_says_whether_it_is_read_whether_proofs_wait_and_what_is_done_next() {
        let copy = |generations: &[i64]| ReplicationStep::Copy(rows(generations));
        // Whether generation 7 is held; `None`: the proof waits.
        for (replica, is_read, held, next) in [
            (ReplicaState::Absent, false, Some(true), ReplicationStep::Build),
            (building(&[]), false, None, ReplicationStep::Build),
            (stale(9), true, None, ReplicationStep::Wait),
            (in_sync(7, &[]), true, Some(true), ReplicationStep::Wait),
            (in_sync(6, &[7]), true, None, copy(&[7])),
            (broken(), false, Some(false), ReplicationStep::Build),
        ] {
            let holds = replica.durable(Generation(7)).map(|held| held.is_ok());
            let state = ReplicatorState { replica, is_void: false, suspicion: Suspicion::default() };
            let found = (state.replica.mark().is_some(), holds, state.next());
            assert_eq!(found, (is_read, held, next), "{:?}", state.replica);
        }
    }

    #[test]
    fn what_is_damaged_is_made_again_once_in_a_while_and_serves_until_then() {
        let replicator = replicator(Some(5));
        replicator.mark_suspect();
        assert_eq!(replicator.state().next(), ReplicationStep::Wait, "the store has to be there first");
        replicator.follow(&[]);
        assert_eq!(replicator.state().next(), ReplicationStep::RebuildSuspect);
        assert!(replicator.readable().is_some());
        replicator
            .change(|state| state.suspicion = Suspicion { is_open: false, settled: Some(Instant::now()) });
        replicator.mark_suspect();
        assert_eq!(replicator.state().next(), ReplicationStep::Wait, "it may hold the same again");
    }

    #[test]
    fn an_unusable_file_that_is_still_there_lets_no_proof_pass() {
        let folder = tempfile::tempdir().unwrap();
        let replicator = || {
            let snapshot = Replica::at(folder.path(), &MasterKey::generate());
            Replicator::new(snapshot, None, Arc::default(), Arc::default())
        };
        let holds =
            |replicator: &Replicator| replicator.wait_durable_row(rows(&[1])[0].position).now_or_never();
        assert_eq!(holds(&replicator()), Some(Ok(())));
        std::fs::write(Replica::file_in(folder.path()), "garbage").unwrap();
        assert!(holds(&replicator()).unwrap().is_err());
    }

    #[tokio::test]
    async fn what_waits_is_woken() {
        let replicator = replicator(Some(5));
        let waiting = replicator.wait_copied(Generation(6));
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        replicator.follow(&rows(&[6]));
        assert!(waiting.as_mut().now_or_never().is_none());
        replicator.change(|state| state.replica.copied(Generation(6)));
        waiting.await;
    }

    #[test]
    fn a_replica_that_is_removed_keeps_nothing_in_mind() {
        let replicator = replicator(Some(5));
        replicator.gate.announce(&rows(&[6]));
        replicator.follow(&rows(&[6]));
        replicator.gate.was_read(&rows(&[6])[0].deployment, replicator.gate.now(), Some(Generation(6)));
        assert_eq!((replicator.len(), replicator.gate.len()), (1, 1));
        replicator.set_state(ReplicaState::Absent);
        assert_eq!((replicator.len(), replicator.gate.len()), (0, 0));
    }
}
