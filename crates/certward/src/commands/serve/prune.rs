use std::time::Duration;

use certward_lifecycle::{Pace, periodically};
use certward_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

/// Tables grow by ten minutes of rows between runs.
const PRUNE_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// 50 MB at some 500 bytes each.
const AUDIT_ROWS_KEPT: u32 = 100_000;

/// Bounds feed, audit and request log.
pub(super) async fn run(store: Store, window: Duration, shutdown: CancellationToken) -> anyhow::Result<()> {
    let what = "the store cannot be pruned";
    periodically(what, Pace::AtOnce(PRUNE_INTERVAL), &store, shutdown, || prune(&store, window)).await;
    Ok(())
}

async fn prune(store: &Store, window: Duration) -> Result<(), StoreError> {
    store.prune(window).await?;
    if !store.prune_audit(AUDIT_ROWS_KEPT).await? {
        tracing::error!("the audit is not pruned, for rows are missing in it: run certward audit verify");
    }
    Ok(())
}
