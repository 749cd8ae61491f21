use certward_store::{NodeRecord, StoreError};

use crate::Lifecycle;

/// The status of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeStatus {
    /// Every change waits for its proof.
    Counted,
    /// Running, but not counted: without gateway, catching up, or draining.
    Uncounted,
    /// Silent for a lease, without a clean stop.
    Lost,
}

impl Lifecycle {
    /// Nodes that run, or were lost within the last hour; by id.
    pub async fn nodes(&self) -> Result<Vec<(NodeStatus, NodeRecord)>, StoreError> {
        let status = |node: &NodeRecord| match (&node.lease, &node.process) {
            (Some(_), _) => NodeStatus::Counted,
            (None, Some(process)) if process.silent_for < self.settings.lease => NodeStatus::Uncounted,
            (None, _) => NodeStatus::Lost,
        };
        let nodes = self.store.nodes().await?.into_iter();
        Ok(nodes.map(|node| (status(&node), node)).collect())
    }
}
