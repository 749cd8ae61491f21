//! What has to be done from time to time, whoever asks for something or not.

use std::time::Duration;

use certward_lifecycle::Lifecycle;
use certward_store::{Store, StoreError};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// A lease or a deadline that is over is noticed so late at most.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The tables grow by what ten minutes bring before anything is pruned.
const PRUNE_EVERY: Duration = Duration::from_secs(10 * 60);

/// Lets time do its work on leases and deadlines.
pub(super) async fn sweep(lifecycle: Lifecycle, shutdown: CancellationToken) -> anyhow::Result<()> {
    repeat("ending what is overdue", SWEEP_EVERY, shutdown, || lifecycle.sweep()).await
}

/// Keeps the store's logs within their bounds.
pub(super) async fn prune(store: Store, window: Duration, shutdown: CancellationToken) -> anyhow::Result<()> {
    repeat("pruning the store", PRUNE_EVERY, shutdown, || store.prune(window)).await
}

/// A store that is away is tried again, and said so only when that begins and ends.
async fn repeat<F, Done>(
    what: &str,
    every: Duration,
    shutdown: CancellationToken,
    mut work: F,
) -> anyhow::Result<()>
where
    F: FnMut() -> Done,
    Done: Future<Output = Result<(), StoreError>>,
{
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        match (work().await, failing) {
            (Ok(()), false) | (Err(_), true) => {}
            (Ok(()), true) => {
                failing = false;
                tracing::info!("{what} works again");
            }
            (Err(e), false) => {
                failing = true;
                tracing::warn!("{what} has failed and is tried again: {e}");
            }
        }
    }
}
