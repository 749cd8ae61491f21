//! Follows the change feed: loads, swaps, applies to live connections, proves and reports.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use certward_lifecycle::{Certificate, Lifecycle, Observation, ProofFailure};
use certward_store::{
    Deployment, DeploymentId, FeedEntry, FeedPage, FeedPosition, Listed, NodeId, ProofState, Reading, Store,
    StoreError, TlsState,
};
use tokio::{
    sync::{Mutex, Semaphore, mpsc},
    task::{self, JoinSet},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{
        deployment_config::{DeploymentConfig, Trust},
        loader::{LoadedDeployment, ReadAhead, Writes},
        read_gate::Gate,
        trust_age::TrustAge,
    },
    context::NodeContext,
    proof::prober::Prover,
    sync::{
        backoff,
        history::{Held, History, HistoryVerdict},
        membership::Membership,
        progress::FeedProgress,
        replicator::Replicator,
        report_gate::ReportGate,
        schedule::{Ended, Schedule},
    },
};

const FEED_PAGE: u32 = 500;
/// About 200 bytes each.
const HOSTS_PAGE: u32 = 5_000;
/// Pages read ahead of the schedule.
const PAGES_AHEAD: usize = 4;
/// Most of them wait for a permit, or for what the proof waits for.
const JOBS_AT_ONCE: usize = 256;
/// A swap is a few store reads. Separate from proofs, which removals must not wait for.
const SWAPS_AT_ONCE: usize = 16;
/// A few handshakes each.
const PROOFS_AT_ONCE: usize = 16;
/// Bounds repeated proofs, so that devices reconnecting after a restart have the CPU.
const BACKGROUND_PROOFS_AT_ONCE: usize = 2;
/// How late a change is noticed if the wake-up is lost.
const FEED_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// More changes occur only while catching up.
const READ_AHEAD_MAX: usize = 32;
/// Bounds the use of an old certificate once the store is back.
const FEED_RETRY_DELAY_MAX: Duration = Duration::from_secs(1);
const CAUGHT_UP_TIMEOUT: Duration = Duration::from_secs(10);
/// A small read during a short drain.
const DRAINING_FEED_POLL_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) context: Arc<NodeContext>,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) node: NodeId,
    pub(crate) prover: Prover,
    pub(crate) reports: Arc<ReportGate>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) trust_age: Arc<TrustAge>,
    /// `None`: this node has no replica.
    pub(crate) replicator: Option<Arc<Replicator>>,
    pub(crate) progress: FeedProgress,
    pub(crate) membership: Arc<Membership>,
    pub(crate) history: Arc<History>,
    pub(crate) scheduled: AtomicUsize,
    pub(crate) permits: Permits,
}

#[derive(Debug)]
pub(crate) struct Permits {
    swaps: Semaphore,
    proofs: Semaphore,
}

impl Default for Permits {
    fn default() -> Self {
        Self { swaps: Semaphore::new(SWAPS_AT_ONCE), proofs: Semaphore::new(PROOFS_AT_ONCE) }
    }
}

#[derive(Debug)]
pub(crate) struct Start {
    after: FeedPosition,
    schedule: Schedule,
    /// From warm-up, to be proven in the background.
    listed: Option<mpsc::Receiver<Vec<Listed>>>,
}

impl Start {
    pub(crate) fn after(&self) -> FeedPosition {
        self.after
    }
}

/// The first feed read, from the replica's mark; its rows survive a timeout.
#[derive(Debug)]
pub(crate) struct FirstRead {
    after: FeedPosition,
    changed: Changed,
}

impl FirstRead {
    pub(crate) fn from(mark: FeedPosition) -> Self {
        Self { after: mark, changed: Changed::Kept(std::sync::Mutex::default()) }
    }
}

#[derive(Debug)]
enum Changed {
    /// Until [`Follower::run`].
    Kept(std::sync::Mutex<Vec<DeploymentId>>),
    Sent(mpsc::Sender<Vec<DeploymentId>>),
}

impl Changed {
    async fn send(&self, ids: Vec<DeploymentId>) {
        match self {
            Self::Kept(kept) => kept.lock().unwrap_or_else(PoisonError::into_inner).extend(ids),
            // The receiver outlives the sender's task.
            Self::Sent(sender) => drop(sender.send(ids).await),
        }
    }
}

#[derive(Debug)]
pub(crate) struct HostWarmup {
    from: HostSource,
    last: Option<DeploymentId>,
    total: usize,
    listed: mpsc::Sender<Vec<Listed>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HostSource {
    Store,
    Replica,
    /// Later changes come from the feed.
    Indexed,
}

impl Follower {
    /// Begins at the newest row; warm-up reads the store.
    pub(crate) async fn begin(&self) -> Result<(Start, HostWarmup), StoreError> {
        let sent = self.trust_age.now();
        // Read before the pages: changes during warm-up then come through the feed.
        let after = self.lifecycle.store().newest_position().await?;
        self.context.boundaries.follow(self.lifecycle.store()).await?;
        self.trust_age.answered(sent);
        Ok(Self::start(after, Schedule::default(), HostSource::Store))
    }

    /// Begins at the replica's mark; warm-up reads the replica.
    pub(crate) fn begin_with_replica(first: FirstRead) -> (Start, HostWarmup) {
        let mut schedule = Schedule::default();
        if let Changed::Kept(kept) = first.changed {
            let changed = kept.into_inner().unwrap_or_else(PoisonError::into_inner);
            changed.into_iter().for_each(|id| schedule.want(id, Instant::now()));
        }
        Self::start(first.after, schedule, HostSource::Replica)
    }

    fn start(after: FeedPosition, schedule: Schedule, from: HostSource) -> (Start, HostWarmup) {
        let (sender, listed) = mpsc::channel(PAGES_AHEAD);
        let names = HostWarmup { from, last: None, total: 0, listed: sender };
        (Start { after, schedule, listed: Some(listed) }, names)
    }

    /// Fills the host index; resumes an earlier try.
    pub(crate) async fn fill(&self, names: &Mutex<HostWarmup>) -> Result<(), StoreError> {
        let mut names = names.lock().await;
        if names.from == HostSource::Replica {
            names.from = self.index_replica(&mut names).await;
        }
        match names.from {
            HostSource::Store => self.fill_from_store(&mut names).await?,
            HostSource::Replica | HostSource::Indexed => self.complete_replica(&mut names).await?,
        }
        tracing::info!(deployments = names.total, "the index of hosts is complete");
        self.warn_of_missing(self.lifecycle.store()).await
    }

    async fn fill_from_store(&self, names: &mut HostWarmup) -> Result<(), StoreError> {
        loop {
            let page = self.lifecycle.store().hosts_after(names.last.as_ref(), HOSTS_PAGE).await;
            self.context.warmup.answered(&page);
            let page = page?;
            let Some(end) = page.last() else { break };
            names.last = Some(end.id.clone());
            names.total += page.len();
            page.iter().for_each(|listed| self.context.index.list(&listed.id, &listed.hosts));
            let _ = names.listed.send(page).await;
        }
        self.context.index.end_list();
        self.context.warmup.end();
        Ok(())
    }

    /// Indexes the replica's hosts. Returns where to read next.
    async fn index_replica(&self, names: &mut HostWarmup) -> HostSource {
        let index = &self.context.index;
        while let Some(page) = self.replica_page(names).await {
            page.iter().for_each(|listed| index.list(&listed.id, &listed.hosts));
            names.total += page.len();
            names.last = page.last().map(|end| end.id.clone());
            if names.last.is_none() {
                index.end_list();
                tracing::info!(
                    deployments = names.total,
                    "the index of hosts is filled from this node's snapshot"
                );
                return HostSource::Indexed;
            }
        }
        // Store pages would not correct an older page's host that moved.
        index.forget();
        (names.last, names.total) = (None, 0);
        HostSource::Store
    }

    /// The index is complete once the changes since the replica's mark are carried out.
    async fn complete_replica(&self, names: &mut HostWarmup) -> Result<(), StoreError> {
        let store = self.lifecycle.store();
        loop {
            let newest = store.newest_position().await;
            self.context.warmup.answered(&newest);
            // After a fail-over the row may be gone.
            if timeout(CAUGHT_UP_TIMEOUT, self.progress.was_caught_up(newest?)).await.is_ok() {
                break;
            }
        }
        self.context.warmup.end();
        loop {
            let mut page = match self.replica_page(names).await {
                Some(page) => page,
                None => store.hosts_after(names.last.as_ref(), HOSTS_PAGE).await?,
            };
            let Some(end) = page.last() else { return Ok(()) };
            names.last = Some(end.id.clone());
            // The store lists what still needs a proof; the replica is older.
            page.retain(|listed| listed.standing != ProofState::Absent);
            page.iter_mut().for_each(|listed| listed.standing = ProofState::Running);
            let _ = names.listed.send(page).await;
        }
    }

    /// `None`: not readable. Damage shows here at the latest.
    async fn replica_page(&self, names: &HostWarmup) -> Option<Vec<Listed>> {
        let replicator = self.replicator.as_ref()?;
        let page = replicator.readable()?.hosts_after(names.last.as_ref(), HOSTS_PAGE).await;
        page.inspect_err(|error| {
            tracing::warn!("this node's snapshot cannot be read: {error}");
            replicator.mark_suspect();
        })
        .ok()
    }

    /// Their connections are refused until they exist.
    async fn warn_of_missing(&self, store: &Store) -> Result<(), StoreError> {
        let bound = self.prover.listeners.iter().filter_map(|listener| listener.deployment.as_ref());
        for id in bound.chain(&self.prover.default) {
            if store.deployment(id).await?.is_none() {
                tracing::warn!(
                    deployment.id = %id,
                    "the configuration (`gateway.default_deployment` or a listener's `deployment`) names a deployment that does not exist; its \
                     devices are refused until it does"
                );
            }
        }
        Ok(())
    }

    /// Runs until dropped. After the reports close it only checks live connections: those of a
    /// draining node must not outlast their trust.
    pub(crate) async fn run(self: Arc<Self>, start: Start) {
        let Start { after, mut schedule, mut listed } = start;
        self.progress.begin(after, schedule.wanted());
        let (changed, mut changes) = mpsc::channel(1);
        let feed = Arc::clone(&self).read_feed(after, changed);
        tokio::pin!(feed);
        let mut work = JoinSet::new();
        let mut worked_on: HashMap<task::Id, DeploymentId> = HashMap::new();
        // Cancels the proof of a replaced configuration.
        let mut overtaken: HashMap<DeploymentId, CancellationToken> = HashMap::new();
        let mut answers_again = Box::pin(self.lifecycle.store().answers_again());
        loop {
            while work.len() < JOBS_AT_ONCE {
                let next = schedule.next(Instant::now());
                let at_once = if self.reports.is_closed() { 0 } else { BACKGROUND_PROOFS_AT_ONCE };
                let next = next.or_else(|| Some((schedule.next_in_background(at_once)?, 0)));
                let Some((id, tries)) = next else { break };
                let follower = Arc::clone(&self);
                let (of, until) = (id.clone(), CancellationToken::new());
                overtaken.insert(id.clone(), until.clone());
                let handle = work.spawn(async move { follower.carry_out(&of, tries, until).await });
                worked_on.insert(handle.id(), id);
            }
            self.scheduled.store(schedule.len(), Ordering::Relaxed);
            let due = schedule.next_due();
            tokio::select! {
                biased;
                () = &mut feed => return,
                Some(ids) = changes.recv() => {
                    let ids: Vec<DeploymentId> = ids;
                    for id in ids {
                        overtaken.get(&id).map(CancellationToken::cancel);
                        schedule.want(id, Instant::now());
                    }
                }
                () = &mut answers_again => {
                    answers_again.set(self.lifecycle.store().answers_again());
                    schedule.hasten(Instant::now());
                }
                page = next_page(&mut listed) => {
                    page.into_iter().for_each(|listed| want(&mut schedule, listed));
                }
                Some(ended) = work.join_next_with_id() => {
                    // A panicked task counts as failed.
                    let (task, ended) = ended.unwrap_or_else(|error| (error.id(), Ended::Unread));
                    if let Some(id) = worked_on.remove(&task) {
                        overtaken.remove(&id);
                        schedule.done(id, ended, Instant::now());
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() && work.len() < JOBS_AT_ONCE => {}
            }
        }
    }

    pub(crate) fn scheduled(&self) -> usize {
        self.scheduled.load(Ordering::Relaxed)
    }

    /// Sends changed deployments in feed order. Never returns.
    async fn read_feed(self: Arc<Self>, mut after: FeedPosition, changed: mpsc::Sender<Vec<DeploymentId>>) {
        let store = self.lifecycle.store();
        let changed = Changed::Sent(changed);
        let (mut tries, mut reports_lost) = (0, false);
        // Read everything up to here again.
        let mut reread: Option<FeedPosition> = None;
        loop {
            // Subscribed before the read, so that no change in between is missed.
            let (wake_up, answers_again) = (store.changed(), store.answers_again());
            let read = async {
                store.reach().await?;
                let follows = reread.is_some() || self.read_on(&mut after, &changed).await?;
                if self.history.is_lost() {
                    self.drop_everything().await?;
                    reread = None;
                } else if !follows {
                    tracing::warn!("this node is too far behind the change feed: it reads everything again");
                    self.announce_everything();
                    reread = None;
                }
                if self.progress.is_unread() && reread.is_none() {
                    // Before the replica is rebuilt, from newer rows.
                    after = store.newest_position().await?;
                    self.history.read([after].into_iter());
                    reread = Some(after);
                }
                if let Some(newest) = reread {
                    self.want_everything(newest, &changed).await?;
                    reread = None;
                }
                if reports_lost {
                    self.want_unproven(&changed).await?;
                    reports_lost = false;
                }
                Ok::<_, StoreError>(())
            };
            let read = read.await;
            self.gate.set_silent(matches!(read, Err(StoreError::Unavailable(_))));
            match read {
                Ok(()) => tries = 0,
                Err(error) => {
                    tries += 1;
                    if backoff::should_log(tries) {
                        tracing::warn!(tries, "the change feed cannot be read: {error}; trying again");
                    }
                    backoff::wait_at_most(FEED_RETRY_DELAY_MAX, tries, answers_again).await;
                    continue;
                }
            }
            tokio::select! {
                () = wake_up => {}
                () = sleep(self.poll_interval()) => {}
                () = self.reports.resumed() => reread = Some(after),
                () = self.membership.joined() => reports_lost = true,
                () = self.history.lost() => {}
            }
        }
    }

    /// Another process writes now, and SQLite has no wake-up across processes.
    fn poll_interval(&self) -> Duration {
        if self.reports.is_closed() { DRAINING_FEED_POLL_INTERVAL } else { FEED_POLL_INTERVAL }
    }

    /// `false`: the feed cannot list the changes since the replica's mark. `first` keeps its rows
    /// when cancelled.
    pub(crate) async fn read_first(&self, first: &mut FirstRead) -> Result<bool, StoreError> {
        self.lifecycle.store().reach().await?;
        self.read_on(&mut first.after, &first.changed).await
    }

    async fn read_on(&self, after: &mut FeedPosition, changed: &Changed) -> Result<bool, StoreError> {
        let store = self.lifecycle.store();
        // First: a stale replica must belong to this history.
        if let Some(replicator) =
            self.replicator.as_ref().filter(|replicator| replicator.stale_mark().is_some())
            && !replicator.is_of(store).await?
        {
            return Ok(false);
        }
        loop {
            let (sent, writes) = (self.trust_age.now(), self.context.loader.writes());
            let held = self.history.held();
            let (page, reading) = store.feed_reading(*after, held.position, FEED_PAGE).await?;
            let rows = match page {
                FeedPage::Rows(rows) => rows,
                FeedPage::Pruned => return Ok(false),
                FeedPage::OtherHistory => {
                    self.history.is_other();
                    return Ok(false);
                }
            };
            if let Some(reading) = &reading {
                // A project's boundaries must be known before its deployments are served.
                self.context.boundaries.follow_in(reading).await?;
            }
            let ahead = match (changed, reading) {
                (Changed::Sent(_), Some(reading)) => self.read_ahead(&rows, &reading, held, &writes).await?,
                // Not served yet at a start.
                _ => Vec::new(),
            };
            self.history.read(rows.iter().map(|row| row.position));
            self.announce(&rows);
            self.context.loader.swap_ahead(ahead);
            let Some(last) = rows.last() else {
                self.trust_age.answered(sent);
                return Ok(true);
            };
            *after = last.position;
            changed.send(rows.into_iter().map(|row| row.deployment).collect()).await;
        }
    }

    /// Reads a few deployments in the transaction of their rows, so that a connection lost in
    /// between does not refuse them. An unreadable one is announced without its value.
    async fn read_ahead(
        &self,
        rows: &[FeedEntry],
        reading: &Reading,
        held: Held,
        writes: &Writes,
    ) -> Result<Vec<ReadAhead>, StoreError> {
        let ids: HashSet<&DeploymentId> = rows.iter().map(|row| &row.deployment).collect();
        let is_ours =
            || self.history.judge(held, reading.as_of(), reading.continues()) == HistoryVerdict::Use;
        if ids.len() > READ_AHEAD_MAX || !is_ours() {
            return Ok(Vec::new());
        }
        match self.context.loader.read_ahead(reading, writes, ids.into_iter().cloned()).await {
            Ok(read) => Ok(read),
            Err(StoreError::Unavailable(_)) => {
                self.lifecycle.store().newest_position().await?;
                Ok(Vec::new())
            }
            Err(_) => Ok(Vec::new()),
        }
    }

    /// The store has another history.
    async fn drop_everything(&self) -> Result<(), StoreError> {
        // First: a counted node must have what it proved.
        self.membership.leave().await?;
        self.history.start_over();
        self.announce_everything();
        Ok(())
    }

    /// Earlier values and replica rows are not served any more.
    fn announce(&self, rows: &[FeedEntry]) {
        let ids = || rows.iter().map(|row| &row.deployment);
        self.gate.announce(rows);
        self.context.loader.announced(ids());
        if let Some(replicator) = &self.replicator {
            replicator.follow(rows);
        }
        if let Some(last) = rows.last() {
            self.progress.is_to_do(ids(), last.position);
        }
    }

    pub(crate) fn announce_everything(&self) {
        if let Some(replicator) = &self.replicator {
            replicator.invalidate();
        }
        self.gate.announce_everything();
        self.context.loader.announced_everything();
        self.progress.forget();
    }

    async fn want_unproven(&self, changed: &Changed) -> Result<(), StoreError> {
        changed.send(self.lifecycle.store().unproven(&self.node).await?).await;
        Ok(())
    }

    /// Deployments of the store and of the index.
    async fn want_everything(&self, newest: FeedPosition, changed: &Changed) -> Result<(), StoreError> {
        let store = self.lifecycle.store();
        self.context.boundaries.follow(store).await?;
        let known = self.context.index.deployments();
        // The feed counts as read when all are listed.
        self.progress.begin_over(known.iter());
        changed.send(known).await;
        let mut last: Option<DeploymentId> = None;
        loop {
            let page = store.deployments_after(last.as_ref(), FEED_PAGE).await?;
            let Some(end) = page.last() else {
                self.progress.is_to_do([].into_iter(), newest);
                return Ok(());
            };
            last = Some(end.id.clone());
            self.progress.begin_over(page.iter().map(|deployment| &deployment.id));
            changed.send(page.into_iter().map(|deployment| deployment.id).collect()).await;
        }
    }

    /// Brings a deployment up to date, then proves it, until `overtaken`.
    async fn carry_out(&self, id: &DeploymentId, tries: u32, overtaken: CancellationToken) -> Ended {
        // The semaphores are never closed.
        let swap = self.permits.swaps.acquire().await;
        let wanted = self.progress.times_wanted(id);
        let LoadedDeployment { assignment, entry, as_of } = match self.context.loader.refresh(id).await {
            Ok(loaded) => loaded,
            Err(error) => {
                // An unreadable deployment is refused: nothing old is served, so the node may be
                // counted.
                if !matches!(error, StoreError::Unavailable(_)) {
                    self.progress.is_done(id, wanted);
                }
                log_failure(id, tries, &format!("a change cannot be read: {error}"));
                return Ended::Unread;
            }
        };
        // After the swap: later connections see the new value.
        match entry.trust() {
            Trust::Scope(scope, _) => self.context.registry.verify_outside(id, scope).await,
            Trust::Nobody => self.context.registry.close(id).await,
            Trust::Unknown => {}
        }
        self.progress.is_done(id, wanted);
        drop(swap);
        let Some((deployment, certificate)) = assignment else {
            self.context.failures.forget(id);
            return Ended::Well;
        };
        let proof = async {
            let _proof = self.permits.proofs.acquire().await;
            self.prove(&deployment, certificate.as_ref(), &entry, as_of, tries).await
        };
        tokio::select! {
            biased;
            () = self.reports.closed() => Ended::Well,
            () = overtaken.cancelled() => Ended::Well,
            well = proof => if well { Ended::Well } else { Ended::Unproven },
        }
    }

    /// `false`: retry.
    async fn prove(
        &self,
        deployment: &Deployment,
        certificate: Option<&Certificate>,
        entry: &DeploymentConfig,
        as_of: FeedPosition,
        tries: u32,
    ) -> bool {
        let outcome = match certificate {
            Some(Certificate { newest, .. }) => match entry {
                DeploymentConfig::Served(served) => match &served.fallback {
                    None => self.prover.prove(deployment, newest).await,
                    Some(fallback) => Err(not_proven(Some(&fallback.reason))),
                },
                DeploymentConfig::Refused(refused) => Err(not_proven(refused.refusal.reason())),
            },
            None if deployment.tls == TlsState::Terminated => self.close_connections(&deployment.id).await,
            None => return true,
        };
        self.context.metrics.proven(outcome.is_ok());
        self.report(deployment, outcome, as_of, tries).await
    }

    async fn report(
        &self,
        deployment: &Deployment,
        outcome: Result<(), ProofFailure>,
        as_of: FeedPosition,
        tries: u32,
    ) -> bool {
        let Deployment { id, generation, .. } = deployment;
        // Without an entry point a retry is useless until the deployment changes.
        let settled = !matches!(outcome, Err(ProofFailure::NotProven(_)));
        match &outcome {
            Ok(()) => tracing::debug!(deployment.id = %id, deployment.generation = %generation, "proven"),
            Err(ProofFailure::NoWayIn(reason)) => {
                log_failure(id, tries, &format!("no device can reach it: {reason}"));
            }
            Err(ProofFailure::NotProven(reason)) => {
                log_failure(id, tries, &format!("generation {generation} is not proven: {reason}"));
            }
        }
        let outcome = match outcome {
            Ok(()) => self.is_copied(deployment).await,
            failed => failed,
        };
        if let (true, Err(ProofFailure::NotProven(reason))) = (settled, &outcome) {
            log_failure(id, tries, &format!("generation {generation} is proven, and not reported: {reason}"));
        }
        let settled = settled && !matches!(outcome, Err(ProofFailure::NotProven(_)));
        let is_proven = outcome.is_ok();
        let Some(_open) = self.reports.open().await else { return self.reports.is_closed() };
        // A node that is not counted reports when it joins.
        let Some(member) = self.membership.member() else { return true };
        let observation = Observation { id, generation: *generation, as_of };
        match self.lifecycle.report(&member, &observation, outcome).await {
            // The session is over: prove again.
            Ok(false) => false,
            Ok(true) => {
                if is_proven {
                    log_proven(deployment);
                }
                settled
            }
            Err(error) => {
                log_failure(id, tries, &format!("a proof cannot be reported: {error}"));
                false
            }
        }
    }

    /// A proof must be in the replica before it is reported, unless the report changes nothing.
    async fn is_copied(&self, deployment: &Deployment) -> Result<(), ProofFailure> {
        let Some(replicator) = &self.replicator else { return Ok(()) };
        if is_news(&deployment.tls) {
            replicator.wait_durable(deployment).await.map_err(ProofFailure::NotProven)
        } else {
            Ok(())
        }
    }

    async fn close_connections(&self, id: &DeploymentId) -> Result<(), ProofFailure> {
        let deadline = Instant::now() + self.context.deadlines.close + Duration::from_secs(1);
        while self.context.registry.count(id) > 0 {
            if Instant::now() > deadline {
                return Err(not_proven(Some("connections are still being closed")));
            }
            // Repeated: a connection may have been registered since.
            self.context.registry.close(id).await;
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

/// Called after the report: an unreported proof is repeated often.
fn log_proven(deployment: &Deployment) {
    let Deployment { id, generation, tls, .. } = deployment;
    let what =
        if *tls == TlsState::Terminated { "connections closed on this node" } else { "proven on this node" };
    if is_news(tls) {
        tracing::info!(deployment.id = %id, deployment.generation = %generation, "{what}");
    }
}

/// Whether the store waits for a report.
fn is_news(tls: &TlsState) -> bool {
    match tls {
        TlsState::Absent | TlsState::Running { .. } => false,
        TlsState::Pending { .. } | TlsState::Failed { .. } | TlsState::Terminated => true,
    }
}

/// At a start only unsettled deployments are urgent.
fn want(schedule: &mut Schedule, listed: Listed) {
    match listed.standing {
        ProofState::Absent => {}
        ProofState::Running => schedule.want_some_time(listed.id),
        ProofState::Unsettled => schedule.want(listed.id, Instant::now()),
    }
}

async fn next_page(listed: &mut Option<mpsc::Receiver<Vec<Listed>>>) -> Vec<Listed> {
    let page = match listed {
        Some(pages) => pages.recv().await,
        None => std::future::pending().await,
    };
    if page.is_none() {
        *listed = None;
    }
    page.unwrap_or_default()
}

/// Warns once, then every thousandth time, to bound the log.
fn log_failure(id: &DeploymentId, tries: u32, what: &str) {
    if tries.is_multiple_of(1000) {
        tracing::warn!(deployment.id = %id, tries, "{what}");
    } else {
        tracing::debug!(deployment.id = %id, tries, "{what}");
    }
}

fn not_proven(reason: Option<&str>) -> ProofFailure {
    let reason = reason.unwrap_or("it cannot be served");
    ProofFailure::NotProven(format!("the certificate cannot be served: {reason}"))
}
