use std::time::Duration;

use certward_store::Store;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Tables grow by ten minutes of rows between runs.
const PRUNE_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Bounds feed, audit and request log. An outage is retried, and logged at begin and end.
pub(super) async fn run(store: Store, window: Duration, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut ticks = interval(PRUNE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        match (store.prune(window).await, failing) {
            (Ok(()), false) | (Err(_), true) => {}
            (Ok(()), true) => {
                failing = false;
                tracing::info!("the store is pruned again");
            }
            (Err(e), false) => {
                failing = true;
                tracing::warn!("the store cannot be pruned, retrying: {e}");
            }
        }
    }
}
