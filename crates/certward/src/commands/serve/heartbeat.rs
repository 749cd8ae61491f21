//! Heartbeats, for the list of nodes only; counting is by leases.

use std::time::Duration;

use certward_store::{NodeId, NodeProcess, Store};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// A third of the time until a node is listed as lost.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// Then this process is listed as lost for an hour.
const FORGET_TIMEOUT: Duration = Duration::from_secs(1);

/// From `begin` to `end`. An outage is logged elsewhere.
pub(super) async fn run(
    store: Store,
    node: NodeId,
    process: NodeProcess,
    begin: CancellationToken,
    end: CancellationToken,
) -> anyhow::Result<()> {
    let say = async {
        begin.cancelled().await;
        let mut ticks = interval(HEARTBEAT_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut since = None;
        loop {
            ticks.tick().await;
            match store.record_process(&node, process, since).await {
                Ok(begun) => since = Some(begun),
                Err(error) => tracing::debug!("the heartbeat cannot be stored: {error}"),
            }
        }
    };
    tokio::select! {
        biased;
        () = end.cancelled() => Ok(()),
        never = say => never,
    }
}

/// So that the node is not listed as lost.
pub(super) async fn end(store: &Store, node: &NodeId) {
    match timeout(FORGET_TIMEOUT, store.remove_process(node)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("the end of this node cannot be stored: {error}"),
        Err(_) => tracing::debug!("the end of this node cannot be stored: the store does not answer"),
    }
}
