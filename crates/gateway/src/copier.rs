//! Keeps this node's snapshot of what it serves, and says when it may be served from.
//!
//! The rule: **what this node has said to be proven, or let go, is in its snapshot, durable, before the store hears of it; or
//! there is no snapshot.** So a node that starts again without its store never trusts more than it last acknowledged, and never
//! serves a certificate whose deletion it has acknowledged. A snapshot that can no longer be written is therefore removed; one that
//! cannot even be removed lets no proof pass.
//!
//! One task writes, in the order of the feed: what the follower has read there is copied from the store as it is then, all that came
//! meanwhile at once, in one transaction with the mark up to which everything is copied. At a start only what has changed since the
//! mark is copied. Where that cannot be told any more, the mark goes first, then everything is compared by generation, and the
//! new mark comes last: a snapshot without a mark is served by nobody.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use certward_store::{
    CopyError, DeploymentId, FeedEntry, FeedPage, FeedPosition, Generation, Records, Snapshot, Store,
    StoreError,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{backoff, metrics::Metrics, schedule::ROOM_AT_REST, ticket_keys, tickets::KeyRing};

/// Deployments that are copied in one transaction.
const AT_ONCE: u32 = 100;
/// Deployments that are compared at once.
const PAGE: u32 = 500;
/// How long a proof waits to be in the snapshot.
const HELD_WITHIN: Duration = Duration::from_secs(10);
/// How late a new session ticket key is copied: it is drawn six hours ahead.
const TICKET_KEYS_EVERY: Duration = Duration::from_secs(60);
/// Writes that may fail, one after the other within a second and a half, before the snapshot is given up.
const FAILURES_MAX: u32 = 3;
/// Until one that was given up is made again.
const MADE_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Until one that cannot be removed is tried again.
const REMOVED_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// A snapshot that is made anew because of a deployment that cannot be served may have the same again.
const DOUBTED_AT_MOST_EVERY: Duration = Duration::from_secs(60 * 60);

#[derive(Debug)]
pub(crate) struct Copier {
    snapshot: Snapshot,
    state: Mutex<State>,
    /// The follower has noted something.
    work: Notify,
    /// The state has changed.
    progress: watch::Sender<()>,
    /// Whether the store did not answer the last time.
    away: AtomicBool,
    /// The period whose older ticket keys are removed.
    forgotten: AtomicI64,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct State {
    standing: Standing,
    /// Up to which generation everything is copied.
    copied: Generation,
    noted: Vec<FeedEntry>,
    everything_noted: bool,
    /// Something in it could not be used.
    doubted: bool,
    /// When that was last looked after.
    mended: Option<Instant>,
    /// All that the store had when this process began is in it: the feed brings the rest.
    caught_up: bool,
    /// What this process has read in the store and is not copied yet; `None` for a deployment that was gone.
    ahead: HashMap<DeploymentId, Option<Generation>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// There is none that a start would serve from.
    Absent,
    /// As an earlier process has left it, not compared with the store yet.
    Found,
    /// Whole but for what has changed while it was made: proofs wait for it, and nobody is served from it yet.
    Nearly,
    /// All that is copied counts.
    Kept,
    /// It can neither be written nor removed.
    Stuck(String),
}

impl Copier {
    /// With a snapshot that was opened, if there was one. `mark`: what it says of itself.
    pub(crate) fn new(snapshot: Snapshot, mark: Option<Generation>, metrics: Arc<Metrics>) -> Self {
        metrics.snapshot(mark.is_some());
        let standing = match mark {
            Some(_) => Standing::Found,
            // Somebody may make it usable again before it is made anew.
            None if snapshot.path().exists() && !snapshot.is_open() => {
                Standing::Stuck("an unusable snapshot of this node is still to be removed".to_owned())
            }
            None => Standing::Absent,
        };
        let state = State {
            standing,
            copied: mark.unwrap_or_default(),
            noted: Vec::new(),
            everything_noted: false,
            doubted: false,
            mended: None,
            caught_up: false,
            ahead: HashMap::new(),
        };
        let (progress, _) = watch::channel(());
        Self {
            snapshot,
            state: Mutex::new(state),
            work: Notify::new(),
            progress,
            away: AtomicBool::new(false),
            forgotten: AtomicI64::new(i64::MIN),
            metrics,
        }
    }

    /// The snapshot, where it is whole: to be served from while the store is away.
    pub(crate) fn whole(&self) -> Option<&Snapshot> {
        let standing = &self.state().standing;
        matches!(standing, Standing::Found | Standing::Kept).then_some(&self.snapshot)
    }

    /// The same, to be served from while the store is there and only slow: not before this process has caught it up. What other nodes
    /// proved while this one was away, it would undo; what changes later is not said to run without this node's proof.
    pub(crate) fn caught_up(&self) -> Option<&Snapshot> {
        let caught_up = self.state().caught_up;
        self.whole().filter(|_| caught_up)
    }

    /// Waits until [`Copier::caught_up`] has something to say.
    pub(crate) async fn until_caught_up(&self) {
        self.until(|| self.caught_up()).await;
    }

    /// Who follows the feed asks the store every second, and says how it went: meanwhile nobody else's handshake has to wait for a store
    /// that says nothing.
    pub(crate) fn set_away(&self, is_away: bool) {
        self.away.store(is_away, Ordering::Relaxed);
    }

    /// See [`Copier::set_away`].
    pub(crate) fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// As [`Copier::whole`], for one deployment: not where this process has read something newer in the store that is not copied
    /// yet, for that may have narrowed its trust. `generation`: what the snapshot has of it.
    pub(crate) fn may_serve(&self, id: &DeploymentId, generation: Generation) -> bool {
        match self.state().ahead.get(id) {
            None => true,
            Some(newer) => newer.is_some_and(|newer| generation >= newer),
        }
    }

    /// This process has read this in the store, and is about to act on it. `None`: the deployment is gone.
    pub(crate) fn seen(&self, id: &DeploymentId, generation: Option<Generation>) {
        let mut state = self.state();
        let is_copied = generation.is_some_and(|generation| generation <= state.copied);
        if state.standing != Standing::Absent && !is_copied {
            state.ahead.insert(id.clone(), generation);
        }
    }

    /// As [`Copier::seen`], by who reads all deployments at a start: what was seen of it by somebody else is newer.
    pub(crate) fn listed(&self, id: &DeploymentId, generation: Generation) {
        let mut state = self.state();
        if state.standing != Standing::Absent && generation > state.copied && !state.ahead.contains_key(id) {
            state.ahead.insert(id.clone(), Some(generation));
        }
    }

    /// The follower has read this in the feed.
    pub(crate) fn note(&self, rows: &[FeedEntry]) {
        let mut state = self.state();
        // Otherwise the feed is read from the mark on, or everything compared.
        if matches!(state.standing, Standing::Found | Standing::Nearly | Standing::Kept) {
            state.noted.extend_from_slice(rows);
        }
        drop(state);
        self.work.notify_one();
    }

    /// The follower cannot tell what has changed.
    pub(crate) fn note_everything(&self) {
        self.state().everything_noted = true;
        self.work.notify_one();
    }

    /// Something in the snapshot cannot be used: it is made anew when the store is there.
    pub(crate) fn doubt(&self) {
        let mut state = self.state();
        if state.mended.is_some_and(|at| at.elapsed() < DOUBTED_AT_MOST_EVERY) {
            return;
        }
        (state.doubted, state.everything_noted) = (true, true);
        drop(state);
        self.work.notify_one();
    }

    /// How many changes are not copied yet, as far as it is known.
    pub(crate) fn len(&self) -> usize {
        let state = self.state();
        state.noted.len() + state.ahead.len()
    }

    /// Waits until everything up to `generation` is copied and durable, or there is no snapshot.
    ///
    /// # Errors
    /// Why that cannot be, in one plain sentence.
    pub(crate) async fn holds(&self, generation: Generation) -> Result<(), String> {
        let held = self.until(|| self.holds_now(generation));
        let late = || Err("this node's snapshot is not written in time".to_owned());
        timeout(HELD_WITHIN, held).await.unwrap_or_else(|_| late())
    }

    /// Asks again whenever the state has changed, until there is an answer.
    async fn until<T>(&self, answer: impl Fn() -> Option<T>) -> T {
        let mut progress = self.progress.subscribe();
        loop {
            if let Some(answer) = answer() {
                return answer;
            }
            // The sender lives as long as this.
            let _ = progress.changed().await;
        }
    }

    fn holds_now(&self, generation: Generation) -> Option<Result<(), String>> {
        let state = self.state();
        match &state.standing {
            Standing::Absent => Some(Ok(())),
            Standing::Kept if state.copied >= generation => Some(Ok(())),
            Standing::Found | Standing::Nearly | Standing::Kept => None,
            Standing::Stuck(reason) => Some(Err(reason.clone())),
        }
    }

    /// Copies until it is dropped. A lost store stops it, and nothing else does.
    pub(crate) async fn run(&self, store: &Store) {
        let (mut failures, mut tries) = (0, 0);
        loop {
            let Err(error) = self.keep(store, &mut failures, &mut tries).await;
            match error {
                CopyError::Store(error) => {
                    tries += 1;
                    // That it is away, the follower says.
                    if backoff::worth_a_word(tries) && !matches!(error, StoreError::Unavailable(_)) {
                        tracing::warn!(tries, "this node's snapshot cannot be kept: {error}; trying again");
                    }
                    sleep(backoff::after(tries)).await;
                }
                CopyError::Snapshot(error) => {
                    failures += 1;
                    if failures < FAILURES_MAX {
                        sleep(backoff::after(failures)).await;
                    } else {
                        self.give_up(&error, failures).await;
                    }
                }
            }
        }
    }

    async fn give_up(&self, error: &StoreError, failures: u32) {
        // Once for each time that it begins: a full disk would be said every minute.
        let is_first = failures == FAILURES_MAX;
        let path = self.snapshot.path().display();
        match self.snapshot.discard().await {
            Ok(()) => {
                self.stand(Standing::Absent);
                if is_first {
                    tracing::warn!(
                        file = %path,
                        "this node's snapshot cannot be used and is removed: {error}; until it is made anew, which is tried every minute, this node serves but does not start while the database is away"
                    );
                }
                // What was damaged is made anew at once; what did not fit may not fit again.
                if !is_first {
                    sleep(MADE_AGAIN_AFTER).await;
                }
            }
            Err(removing) => {
                self.stand(Standing::Stuck(format!(
                    "this node's snapshot can neither be written nor removed: {removing}"
                )));
                if is_first {
                    tracing::error!(
                        file = %path,
                        "this node's snapshot can neither be written ({error}) nor removed ({removing}): this node proves no change until it can, for with an old snapshot it would serve what is replaced"
                    );
                }
                sleep(REMOVED_AGAIN_AFTER).await;
            }
        }
    }

    /// Makes the snapshot whole, and keeps it so.
    async fn keep(
        &self,
        store: &Store,
        failures: &mut u32,
        tries: &mut u32,
    ) -> Result<Infallible, CopyError> {
        loop {
            self.catch_up(store).await?;
            self.now_caught_up();
            if *failures >= FAILURES_MAX {
                tracing::info!("this node's snapshot is whole again");
            }
            (*failures, *tries) = (0, 0);
            let mut next_ticket_keys = Instant::now() + TICKET_KEYS_EVERY;
            while !std::mem::take(&mut self.state().everything_noted) {
                self.copy_noted(store).await?;
                tokio::select! {
                    // First, for there may always be work.
                    biased;
                    () = sleep_until(next_ticket_keys) => {
                        self.copy_ticket_keys(store).await?;
                        next_ticket_keys = Instant::now() + TICKET_KEYS_EVERY;
                    }
                    () = self.work.notified() => {}
                }
            }
        }
    }

    /// Everything up to now: by the feed where it reaches back to the mark, otherwise by comparing all.
    async fn catch_up(&self, store: &Store) -> Result<(), CopyError> {
        if let Some(fault) = self.fault(store).await? {
            tracing::warn!(
                file = %self.snapshot.path().display(),
                "this node's snapshot {fault}: it is removed and made anew"
            );
            self.snapshot.discard().await.map_err(CopyError::Snapshot)?;
            self.stand(Standing::Absent);
            let mut state = self.state();
            if std::mem::take(&mut state.doubted) {
                state.mended = Some(Instant::now());
            }
        }
        if !self.snapshot.is_open() {
            self.snapshot.make(store).await?;
            // Not before: only now whatever was there is gone.
            self.stand(Standing::Absent);
        }
        self.copy_ticket_keys(store).await?;
        if let Some(mark) = self.snapshot.mark_position().await.map_err(CopyError::Snapshot)?
            && self.follow(store, mark).await?
        {
            return Ok(());
        }
        self.compare_all(store).await
    }

    /// Why what is there is not to be caught up.
    async fn fault(&self, store: &Store) -> Result<Option<&'static str>, CopyError> {
        if !self.snapshot.is_open() {
            return Ok(None);
        }
        if self.state().doubted {
            return Ok(Some("is damaged, or holds what cannot be served"));
        }
        let is_of = self.snapshot.is_of(store).await?;
        Ok((!is_of).then_some("is of another store, or of another history of this one"))
    }

    /// `false`: the feed does not reach back that far.
    async fn follow(&self, store: &Store, mark: FeedPosition) -> Result<bool, CopyError> {
        let mut after = mark;
        loop {
            let Some(rows) = rows_after(store, after).await? else { return Ok(false) };
            let Some(last) = rows.last() else { break };
            let last = last.position;
            self.copy(store, &rows, last.generation).await?;
            // Batch by batch: proofs of what is copied need not wait for the rest.
            self.reached(last.generation);
            after = last;
        }
        self.reached(after.generation);
        Ok(true)
    }

    /// Makes the store and the snapshot alike, page by page. While it does there is no mark, so no start would serve from it and
    /// no proof has to wait for it; before the mark is written, both are so again.
    async fn compare_all(&self, store: &Store) -> Result<(), CopyError> {
        self.snapshot.forget_mark().await.map_err(CopyError::Snapshot)?;
        self.stand(Standing::Absent);
        loop {
            let begun = store.newest_position().await.map_err(CopyError::Store)?;
            let mut after = None;
            loop {
                after = self.snapshot.copy_page(store, after.as_ref(), PAGE).await?;
                if after.is_none() {
                    break;
                }
            }
            // From here on proofs wait. Whatever was proven without waiting is in the feed by now.
            self.stand(Standing::Nearly);
            let mut end = begun;
            let caught_up = loop {
                let Some(rows) = rows_after(store, end).await? else { break false };
                let Some(last) = rows.last() else { break true };
                let ids = distinct(&rows);
                self.snapshot.copy(store, &ids, None).await?;
                end = last.position;
            };
            if caught_up {
                self.snapshot.copy(store, &[], Some(end.generation)).await?;
                self.reached(end.generation);
                tracing::info!(
                    "this node's snapshot is whole: it can serve and start while the database is away"
                );
                return Ok(());
            }
            self.stand(Standing::Absent);
        }
    }

    async fn copy_noted(&self, store: &Store) -> Result<(), CopyError> {
        loop {
            let noted = std::mem::take(&mut self.state().noted);
            for rows in noted.chunks(AT_ONCE as usize) {
                if let Some(last) = rows.last() {
                    self.copy(store, rows, last.generation()).await?;
                    self.reached(last.generation());
                }
            }
            if noted.is_empty() {
                return self.forget_gone().await;
            }
        }
    }

    /// That a deployment is gone in the store needs to be known only until it is gone here too. Often it was before somebody looked.
    async fn forget_gone(&self) -> Result<(), CopyError> {
        let is_gone = |(id, newer): (&DeploymentId, &Option<_>)| newer.is_none().then(|| id.clone());
        let gone: Vec<_> = self.state().ahead.iter().filter_map(is_gone).collect();
        for id in gone {
            let here = self.snapshot.deployment(&id).await.map_err(CopyError::Snapshot)?;
            let mut state = self.state();
            if here.is_none() && state.ahead.get(&id) == Some(&None) {
                state.ahead.remove(&id);
            }
        }
        Ok(())
    }

    async fn copy(&self, store: &Store, rows: &[FeedEntry], mark: Generation) -> Result<(), CopyError> {
        let copied = self.snapshot.copy(store, &distinct(rows), Some(mark)).await?;
        let mut state = self.state();
        for (id, here) in copied {
            let is_behind =
                matches!((state.ahead.get(&id), here), (Some(Some(newer)), Some(here)) if *newer > here);
            if !is_behind {
                state.ahead.remove(&id);
            }
        }
        if state.ahead.is_empty() {
            state.ahead.shrink_to(ROOM_AT_REST);
        }
        Ok(())
    }

    /// Everything up to `generation` is durable.
    fn reached(&self, generation: Generation) {
        let mut state = self.state();
        state.standing = Standing::Kept;
        state.copied = generation;
        state.noted.retain(|row| row.generation() > generation);
        drop(state);
        self.metrics.snapshot(true);
        self.progress.send_replace(());
    }

    /// All that the store had when this process began is in the snapshot.
    fn now_caught_up(&self) {
        self.state().caught_up = true;
        self.progress.send_replace(());
    }

    fn stand(&self, standing: Standing) {
        let mut state = self.state();
        if standing == Standing::Absent {
            state.copied = Generation::default();
            state.noted = Vec::new();
            state.ahead = HashMap::new();
            state.caught_up = false;
        }
        state.standing = standing;
        drop(state);
        self.metrics.snapshot(self.whole().is_some());
        self.progress.send_replace(());
    }

    async fn copy_ticket_keys(&self, store: &Store) -> Result<(), CopyError> {
        let (from, before) = ticket_keys::NAMES;
        self.snapshot.copy_secrets(store, from, before).await?;
        Ok(())
    }

    /// While the store is away nobody else removes the session ticket keys whose time is over.
    pub(crate) async fn forget_old_ticket_keys(&self, ring: &KeyRing) {
        let period = ring.period();
        if self.forgotten.load(Ordering::Relaxed) == period || self.whole().is_none() {
            return;
        }
        match ticket_keys::forget_old(ring, &self.snapshot).await {
            Ok(()) => self.forgotten.store(period, Ordering::Relaxed),
            Err(error) => tracing::debug!("old session ticket keys stay in the snapshot for now: {error}"),
        }
    }

    /// Closes the snapshot; what is in it stays.
    pub(crate) async fn close(&self) {
        self.snapshot.close().await;
    }

    // Nothing that holds it can panic half-way through a change.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `None`: nothing tells what comes next.
async fn rows_after(store: &Store, after: FeedPosition) -> Result<Option<Vec<FeedEntry>>, CopyError> {
    match store.feed_after(after, after, AT_ONCE).await.map_err(CopyError::Store)? {
        FeedPage::Rows(rows) => Ok(Some(rows)),
        FeedPage::Pruned | FeedPage::OtherHistory => Ok(None),
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

    fn copier(mark: Option<i64>) -> Copier {
        let snapshot = Snapshot::at(std::path::Path::new("/nonexistent"), &MasterKey::generate());
        Copier::new(snapshot, mark.map(Generation), Arc::default())
    }

    fn id(text: &str) -> DeploymentId {
        DeploymentId::parse(text).unwrap()
    }

    fn row(generation: i64) -> FeedEntry {
        FeedEntry {
            position: FeedPosition { generation: Generation(generation), nonce: 7 },
            deployment: id("d"),
        }
    }

    /// `None`: it waits.
    fn holds(copier: &Copier, generation: i64) -> Option<bool> {
        copier.holds_now(Generation(generation)).map(|held| held.is_ok())
    }

    #[test]
    fn a_proof_waits_until_it_is_copied_and_for_no_snapshot_that_no_start_would_use() {
        let found = copier(Some(5));
        assert_eq!(holds(&found, 3), None, "whether it is of this store is not known yet");
        found.reached(Generation(7));
        assert_eq!([7, 8].map(|generation| holds(&found, generation)), [Some(true), None]);
        found.stand(Standing::Stuck("neither".into()));
        assert_eq!(holds(&found, 7), Some(false));
        found.stand(Standing::Nearly);
        assert_eq!((holds(&found, 7), found.whole().is_some()), (None, false));
        found.stand(Standing::Absent);
        assert_eq!(holds(&found, 100), Some(true));
        assert_eq!(holds(&copier(None), 1), Some(true));
    }

    #[test]
    fn what_an_earlier_process_left_serves_for_a_store_that_is_away_and_not_for_one_that_is_slow() {
        let copier = copier(Some(5));
        let serves = |copier: &Copier| (copier.whole().is_some(), copier.caught_up().is_some());
        assert_eq!(serves(&copier), (true, false));
        copier.reached(Generation(7));
        assert_eq!(serves(&copier), (true, false), "there may be more to copy");
        copier.now_caught_up();
        assert_eq!(serves(&copier), (true, true));
        copier.stand(Standing::Absent);
        assert_eq!(serves(&copier), (false, false));
        copier.reached(Generation(9));
        assert_eq!(serves(&copier), (true, false), "it is made anew");
    }

    #[test]
    fn an_unusable_file_that_is_still_there_lets_no_proof_pass() {
        let folder = tempfile::tempdir().unwrap();
        let copier = || {
            let snapshot = Snapshot::at(folder.path(), &MasterKey::generate());
            Copier::new(snapshot, None, Arc::default())
        };
        assert_eq!(holds(&copier(), 1), Some(true));
        std::fs::write(Snapshot::file_in(folder.path()), "garbage").unwrap();
        assert_eq!(holds(&copier(), 1), Some(false));
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let copier = copier(Some(5));
        let waiting = copier.holds(Generation(6));
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        copier.reached(Generation(6));
        assert_eq!(waiting.await, Ok(()));

        let caught_up = copier.until_caught_up();
        tokio::pin!(caught_up);
        assert!(caught_up.as_mut().now_or_never().is_none());
        copier.now_caught_up();
        caught_up.await;
    }

    #[test]
    fn what_the_store_said_last_is_never_undone_by_an_older_entry() {
        let copier = copier(Some(5));
        copier.seen(&id("copied"), Some(Generation(4)));
        copier.seen(&id("changed"), Some(Generation(6)));
        copier.seen(&id("gone"), None);
        let may = |name: &str, generation| copier.may_serve(&id(name), Generation(generation));
        assert!(may("copied", 4) && may("unknown", 1));
        assert!(!may("changed", 4) && may("changed", 6) && may("changed", 7));
        assert!(!may("gone", 4));
        copier.stand(Standing::Absent);
        assert!(copier.whole().is_none());
    }

    #[test]
    fn only_what_is_not_copied_yet_is_kept_in_mind() {
        let copier = copier(Some(5));
        let noted = || copier.state().noted.iter().map(|row| row.generation().0).collect::<Vec<_>>();
        copier.note(&[row(6), row(7), row(8)]);
        copier.reached(Generation(7));
        assert_eq!(noted(), [8]);
        copier.stand(Standing::Stuck("neither".into()));
        copier.note(&[row(9)]);
        assert_eq!(noted(), [8], "the feed is read again from the mark on");
    }
}
