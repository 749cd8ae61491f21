//! Reads the change feed: announces what changed, and hands it to the reconciler.

use std::{collections::HashSet, sync::Arc, time::Duration};

use certward_store::{DeploymentId, FeedEntry, FeedPage, FeedPosition, Reading, StoreError};
use tokio::{sync::mpsc, time::sleep};

use crate::{
    config::loader::{ReadAhead, Writes},
    sync::{
        backoff,
        follower::Follower,
        history::{Held, HistoryVerdict},
    },
};

const FEED_PAGE: u32 = 500;
/// How late a change is noticed if the wake-up is lost.
const FEED_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// More changes occur only while catching up.
const READ_AHEAD_MAX: usize = 32;
/// Bounds the use of an old certificate once the store is back.
const FEED_RETRY_DELAY_MAX: Duration = Duration::from_secs(1);
/// A small read during a short drain.
const DRAINING_FEED_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The first feed read, from the replica's mark; its rows survive a timeout.
#[derive(Debug)]
pub(crate) struct FirstRead {
    pub(super) after: FeedPosition,
    pub(super) changed: Changed,
}

impl FirstRead {
    pub(crate) fn from(mark: FeedPosition) -> Self {
        Self { after: mark, changed: Changed::Kept(parking_lot::Mutex::default()) }
    }
}

#[derive(Debug)]
pub(super) enum Changed {
    /// Until the reconciler runs.
    Kept(parking_lot::Mutex<Vec<DeploymentId>>),
    Sent(mpsc::Sender<Vec<DeploymentId>>),
}

impl Changed {
    pub(super) async fn send(&self, ids: Vec<DeploymentId>) {
        match self {
            Self::Kept(kept) => kept.lock().extend(ids),
            // The receiver outlives the sender's task.
            Self::Sent(sender) => drop(sender.send(ids).await),
        }
    }
}

impl Follower {
    /// `false`: the feed cannot list the changes since the replica's mark. `first` keeps its rows
    /// when cancelled.
    pub(crate) async fn read_first(&self, first: &mut FirstRead) -> Result<bool, StoreError> {
        self.lifecycle.store().reach().await?;
        self.read_on(&mut first.after, &first.changed).await
    }

    /// Sends changed deployments in feed order. Never returns.
    pub(super) async fn read_feed(
        self: Arc<Self>,
        mut after: FeedPosition,
        changed: mpsc::Sender<Vec<DeploymentId>>,
    ) {
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
                    after = store.read_as_member().newest_position().await?;
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
                self.context.boundaries.follow(reading.read()).await?;
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
                self.lifecycle.store().read_as_member().newest_position().await?;
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
        changed.send(self.lifecycle.store().read_as_member().unproven(&self.node).await?).await;
        Ok(())
    }

    /// Deployments of the store and of the index.
    async fn want_everything(&self, newest: FeedPosition, changed: &Changed) -> Result<(), StoreError> {
        let store = self.lifecycle.store();
        self.context.boundaries.follow(&store.read()).await?;
        let known = self.context.index.deployments();
        // The feed counts as read when all are listed.
        self.progress.begin_over(known.iter());
        changed.send(known).await;
        let mut last: Option<DeploymentId> = None;
        loop {
            let page = store.read().deployments_after(last.as_ref(), FEED_PAGE).await?;
            let Some(end) = page.last() else {
                self.progress.is_to_do([].into_iter(), newest);
                return Ok(());
            };
            last = Some(end.id.clone());
            self.progress.begin_over(page.iter().map(|deployment| &deployment.id));
            changed.send(page.into_iter().map(|deployment| deployment.id).collect()).await;
        }
    }
}
