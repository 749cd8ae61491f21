//! Logs the head of the audit, so that a log kept elsewhere shows later whether rows were removed.

use std::time::Duration;

use certward_lifecycle::{Pace, periodically};
use certward_store::{Store, StoreError};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const HEAD_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// At the end, for a store that does not answer.
const LAST_HEAD_TIMEOUT: Duration = Duration::from_secs(2);

/// At the start and every hour.
pub(super) async fn run(store: Store, shutdown: CancellationToken) -> anyhow::Result<()> {
    let what = "the head of the audit cannot be read";
    periodically(what, Pace::AtOnce(HEAD_INTERVAL), &store, shutdown, || log(&store)).await;
    Ok(())
}

/// Once more, when no request is left.
pub(super) async fn log_last(store: &Store) {
    let _unreachable = timeout(LAST_HEAD_TIMEOUT, log(store)).await;
}

async fn log(store: &Store) -> Result<(), StoreError> {
    if let Some(head) = store.read().audit_head().await? {
        tracing::info!(audit.head = %head, "the head of the audit, for certward audit verify --head");
    }
    Ok(())
}
