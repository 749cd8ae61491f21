//! Registers this process, joins once it has caught up, then renews its lease.

use std::{sync::Arc, time::Duration};

use certward_store::{FeedPosition, StoreError};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::sync::{backoff, follower::Follower, membership::CarriesOut};

/// Far fewer rows than the node carries out in that time.
const MISSING_MAX: usize = 32;
/// Then the newest row is read again.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(10);
/// A node that is not counted delays no change, but is of no use.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(1);

impl CarriesOut for Follower {
    async fn has_carried_out(&self, newest: FeedPosition) -> bool {
        self.progress.caught_up(newest).await;
        if let Some(replicator) = &self.replicator {
            // The replicator logs its failures; until they end the node does not join.
            while replicator.wait_durable_row(newest).await.is_err() {
                sleep(Duration::from_millis(50)).await;
            }
        }
        !self.history.is_lost() && self.history.held().position == newest
    }
}

impl Follower {
    /// `false`: too much is missing, or a take-over is in progress.
    pub(crate) async fn try_to_join(&self) -> Result<bool, StoreError> {
        // Catches up before changes are held, so that little is left to do then.
        let newest = self.lifecycle.store().read_as_member().newest_position().await?;
        if timeout(CATCH_UP_TIMEOUT, self.progress.is_near(newest, MISSING_MAX)).await.is_err() {
            return Ok(false);
        }
        if let Some(replicator) = &self.replicator
            && timeout(CATCH_UP_TIMEOUT, replicator.wait_copied(newest.generation)).await.is_err()
        {
            return Ok(false);
        }
        let Some(_open) = self.reports.open().await else { return Ok(false) };
        self.membership.join(self).await
    }
}

/// Until shutdown; joins again after an expiry.
pub(crate) async fn keep(follower: Arc<Follower>, every: Duration, shutdown: CancellationToken) {
    if !follower.membership.is_registered() && !register(&follower, &shutdown).await {
        return;
    }
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = keep_up(&follower, every) => {}
    }
}

/// `false`: shut down.
async fn register(follower: &Follower, shutdown: &CancellationToken) -> bool {
    let store = follower.lifecycle.store();
    let was_away = follower.gate.is_silent();
    let begin = || async {
        store.reach().await?;
        follower.membership.register().await
    };
    if backoff::until_done(store, shutdown, "the database is still away", begin).await.is_none() {
        return false;
    }
    let back = if was_away { "the database is back: " } else { "" };
    tracing::info!("{back}this node catches up before it is counted");
    true
}

async fn keep_up(follower: &Follower, every: Duration) {
    let membership = &follower.membership;
    let (mut tries, mut counted) = (0, membership.member().is_some());
    loop {
        let answers_again = follower.lifecycle.store().answers_again();
        let kept = if membership.member().is_some() {
            if tries == 0 {
                sleep(every).await;
            }
            membership.renew().await
        } else {
            let had_counted = std::mem::take(&mut counted);
            // During a take-over the other process is counted.
            if had_counted && follower.reports.open().await.is_some() {
                tracing::warn!("this node is not counted any more: it joins again after catching up");
            }
            follower.try_to_join().await
        };
        match kept {
            Ok(true) => {
                if !std::mem::replace(&mut counted, true) {
                    tracing::info!("this node has caught up, and is counted");
                }
                tries = 0;
            }
            // Not a failure: the lease was just found expired.
            Ok(false) if counted => {}
            Ok(false) => {
                tries += 1;
                backoff::wait_at_most(RETRY_DELAY_MAX, tries, answers_again).await;
            }
            Err(error) => {
                tries += 1;
                if backoff::should_log(tries) {
                    tracing::warn!(tries, "this node's lease cannot be kept: {error}; trying again");
                }
                backoff::wait_at_most(RETRY_DELAY_MAX, tries, answers_again).await;
            }
        }
    }
}
