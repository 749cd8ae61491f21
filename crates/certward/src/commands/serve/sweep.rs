//! What a node without a gateway does about time, for there may be no gateway that lives: leases end, and changes that are not proven
//! in time are `failed`.

use std::time::Duration;

use certward_lifecycle::Lifecycle;
use certward_store::{NodeId, StoreError};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// As often as a gateway does.
const EVERY: Duration = Duration::from_secs(1);

/// Sweeps until the shutdown. A store that is away is tried again, and said so when that begins.
pub(super) async fn run(lifecycle: &Lifecycle, node: &NodeId, shutdown: CancellationToken) {
    let mut has_left = false;
    let mut failing = false;
    loop {
        let swept = async {
            sleep(EVERY).await;
            if !has_left {
                // The process before this one may have had a gateway: nobody is to wait for it.
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
            tracing::warn!("leases and deadlines cannot be looked at: {error}; trying again");
        }
        failing = swept.is_err();
    }
}
