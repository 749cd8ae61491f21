use std::time::Duration;

use certward_lifecycle::{Pace, periodically};
use certward_store::Store;
use tokio_util::sync::CancellationToken;

/// Tables grow by ten minutes of rows between runs.
const PRUNE_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Bounds feed, audit and request log.
pub(super) async fn run(store: Store, window: Duration, shutdown: CancellationToken) -> anyhow::Result<()> {
    let what = "the store cannot be pruned";
    periodically(what, Pace::AtOnce(PRUNE_INTERVAL), &store, shutdown, || store.prune(window)).await;
    Ok(())
}
