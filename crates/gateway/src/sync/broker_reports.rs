//! Tells the store which brokers devices of this node cannot use, for every node's API.

use certward_store::{NodeId, Store, StoreError};
use tokio::time::Instant;

use crate::upstream::broker_health::BrokerHealth;

/// Withdraws what an earlier process reported.
pub(crate) async fn begin(store: &Store, node: &NodeId) -> Result<(), StoreError> {
    store.forget_broker_troubles(node).await
}

/// Call it every few seconds. Writes nothing if nothing changed.
pub(crate) async fn report(health: &BrokerHealth, store: &Store, node: &NodeId) -> Result<(), StoreError> {
    loop {
        let now = Instant::now();
        let report = health.report(now);
        if report.present.is_empty() && report.over.is_empty() {
            return Ok(());
        }
        store.report_broker_troubles(node, &report).await?;
        health.is_reported(&report, now);
    }
}
