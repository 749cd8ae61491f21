//! Heartbeats, for the list of nodes only; counting is by leases.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use certward_lifecycle::{Pace, periodically};
use certward_store::{NodeId, NodeProcess, Store, StoreError, Timestamp};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// A third of the time until a node is listed as lost.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// Then this process is listed as lost for an hour.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a node reports of its process.
pub(super) struct Heartbeat {
    store: Store,
    node: NodeId,
    process: NodeProcess,
    since: OnceLock<Timestamp>,
}

impl Heartbeat {
    pub(super) fn new(store: Store, node: NodeId, process: NodeProcess) -> Self {
        Self { store, node, process, since: OnceLock::new() }
    }

    /// # Errors
    /// [`StoreError::Unavailable`].
    pub(super) async fn record(&self) -> Result<(), StoreError> {
        let since = self.since.get().copied();
        let begun = self.store.record_process(&self.node, self.process, since).await?;
        let _ = self.since.set(begun);
        Ok(())
    }
}

pub(super) async fn run(
    heartbeat: Arc<Heartbeat>,
    begin: CancellationToken,
    end: CancellationToken,
) -> anyhow::Result<()> {
    tokio::select! {
        biased;
        () = end.cancelled() => return Ok(()),
        () = begin.cancelled() => {}
    }
    let what = "the heartbeat cannot be stored";
    let pace = Pace::AtOnce(HEARTBEAT_INTERVAL);
    periodically(what, pace, &heartbeat.store, end, || heartbeat.record()).await;
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
