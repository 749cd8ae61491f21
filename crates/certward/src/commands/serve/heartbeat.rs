//! That this process runs, told to whoever lists the nodes. Nobody is counted by it: that is for leases, which are the gateway's.

use std::time::Duration;

use certward_store::{NodeId, NodeProcess, Store};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// A third of the time after which one that is silent is listed as lost.
const EVERY: Duration = Duration::from_secs(5);
/// For a store that does not answer; then this process is listed as lost for an hour.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(1);

/// Says so from `begin` on, until `end`. A store that is away hears it later; that it is away, others say.
pub(super) async fn run(
    store: Store,
    node: NodeId,
    process: NodeProcess,
    begin: CancellationToken,
    end: CancellationToken,
) -> anyhow::Result<()> {
    let say = async {
        begin.cancelled().await;
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut since = None;
        loop {
            ticks.tick().await;
            match store.hear_process(&node, process, since).await {
                Ok(begun) => since = Some(begun),
                Err(error) => tracing::debug!("the store does not hear that this node runs: {error}"),
            }
        }
    };
    tokio::select! {
        biased;
        () = end.cancelled() => Ok(()),
        never = say => never,
    }
}

/// Nobody is to miss this node: it has ended in order.
pub(super) async fn end(store: &Store, node: &NodeId) {
    match timeout(FORGOTTEN_WITHIN, store.forget_process(node)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("the store does not know that this node has ended: {error}"),
        Err(_) => tracing::debug!("the store does not know that this node has ended: it does not answer"),
    }
}
