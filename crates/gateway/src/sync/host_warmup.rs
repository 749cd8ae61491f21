//! Where a node begins: its place in the feed, and the first fill of its host index.

use certward_store::{DeploymentId, FeedPosition, Listed, ProofState, Store, StoreError};
use std::time::Duration;
use tokio::{
    sync::{Mutex, mpsc},
    time::{Instant, timeout},
};

use crate::sync::{
    feed_reader::{Changed, FirstRead},
    follower::Follower,
    schedule::Schedule,
};

/// About 200 bytes each.
const HOSTS_PAGE: u32 = 5_000;
/// Pages read ahead of the schedule.
const PAGES_AHEAD: usize = 4;
const CAUGHT_UP_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Start {
    pub(super) after: FeedPosition,
    pub(super) schedule: Schedule,
    /// From warm-up, to be proven in the background.
    pub(super) listed: Option<mpsc::Receiver<Vec<Listed>>>,
}

impl Start {
    pub(crate) fn after(&self) -> FeedPosition {
        self.after
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
        let after = self.lifecycle.store().read_as_member().newest_position().await?;
        self.context.boundaries.follow(&self.lifecycle.store().read()).await?;
        self.trust_age.answered(sent);
        Ok(Self::start(after, Schedule::default(), HostSource::Store))
    }

    /// Begins at the replica's mark; warm-up reads the replica.
    pub(crate) fn begin_with_replica(first: FirstRead) -> (Start, HostWarmup) {
        let mut schedule = Schedule::default();
        if let Changed::Kept(kept) = first.changed {
            let changed = kept.into_inner();
            changed.into_iter().for_each(|id| schedule.want(id, Instant::now()));
        }
        Self::start(first.after, schedule, HostSource::Replica)
    }

    fn start(after: FeedPosition, schedule: Schedule, from: HostSource) -> (Start, HostWarmup) {
        let (sender, listed) = mpsc::channel(PAGES_AHEAD);
        let names = HostWarmup { from, last: None, total: 0, listed: sender };
        (Start { after, schedule, listed: Some(listed) }, names)
    }

    /// Resumes an earlier try.
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
            let page = self.lifecycle.store().read().hosts_after(names.last.as_ref(), HOSTS_PAGE).await;
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

    /// Returns where to read next.
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
            let newest = store.read_as_member().newest_position().await;
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
                None => store.read().hosts_after(names.last.as_ref(), HOSTS_PAGE).await?,
            };
            let Some(end) = page.last() else { return Ok(()) };
            names.last = Some(end.id.clone());
            // The store lists what still needs a proof; the replica is older.
            page.retain(|listed| listed.proof != ProofState::Absent);
            page.iter_mut().for_each(|listed| listed.proof = ProofState::Running);
            let _ = names.listed.send(page).await;
        }
    }

    /// `None`: not readable. Damage shows here at the latest.
    async fn replica_page(&self, names: &HostWarmup) -> Option<Vec<Listed>> {
        let replicator = self.replicator.as_ref()?;
        let page = replicator.readable()?.read().hosts_after(names.last.as_ref(), HOSTS_PAGE).await;
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
            if store.read().deployment(id).await?.is_none() {
                tracing::warn!(
                    deployment.id = %id,
                    "the configuration (`gateway.default_deployment` or a listener's `deployment`) names a deployment that does not exist; its \
                     devices are refused until it does"
                );
            }
        }
        Ok(())
    }
}
