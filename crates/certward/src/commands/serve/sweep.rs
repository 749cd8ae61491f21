//! Ends leases and fails overdue changes without a gateway.

use std::time::Duration;

use certward_lifecycle::Lifecycle;
use certward_store::{NodeId, StoreError};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// As often as a gateway.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// An outage is retried, and logged when it begins.
pub(super) async fn run(lifecycle: &Lifecycle, node: &NodeId, shutdown: CancellationToken) {
    let mut has_left = false;
    let mut failing = false;
    loop {
        let swept = async {
            sleep(SWEEP_INTERVAL).await;
            if !has_left {
                // The previous process may have had a gateway: no change may wait for it.
                lifecycle.retire(node).await?;
                has_left = true;
            }
            lifecycle.sweep().await
        };
        let swept: Result<(), StoreError> = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            swept = swept => swept,
        };
        if let (Err(error), false) = (&swept, failing) {
            tracing::warn!("leases and deadlines cannot be checked, retrying: {error}");
        }
        failing = swept.is_err();
    }
}
