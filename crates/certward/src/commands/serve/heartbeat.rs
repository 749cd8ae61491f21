//! Heartbeats, for the list of nodes only; counting is by leases.

use std::{sync::OnceLock, time::Duration};

use certward_lifecycle::{Pace, periodically};
use certward_store::{NodeId, NodeProcess, Store, StoreError};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// A third of the time until a node is listed as lost.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// Then this process is listed as lost for an hour.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) async fn run(
    store: Store,
    node: NodeId,
    process: NodeProcess,
    begin: CancellationToken,
    end: CancellationToken,
) -> anyhow::Result<()> {
    tokio::select! {
        biased;
        () = end.cancelled() => return Ok(()),
        () = begin.cancelled() => {}
    }
    let since = OnceLock::new();
    let record = || async {
        let begun = store.record_process(&node, process, since.get().copied()).await?;
        let _ = since.set(begun);
        Ok::<_, StoreError>(())
    };
    let what = "the heartbeat cannot be stored";
    periodically(what, Pace::AtOnce(HEARTBEAT_INTERVAL), &store, end, record).await;
    Ok(())
}

/// So that the node is not listed as lost.
pub(super) async fn end(store: &Store, node: &NodeId) {
    match timeout(REMOVE_TIMEOUT, store.remove_process(node)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("the end of this node cannot be stored: {error}"),
        Err(_) => tracing::debug!("the end of this node cannot be stored: the store does not answer"),
    }
}
