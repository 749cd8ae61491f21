use certward_store::{NodeRecord, StoreError};

use crate::Lifecycle;

/// How a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeStatus {
    /// It is waited for in every change.
    Counted,
    /// It runs, and nobody waits for it: it has no gateway, catches up, or sees its devices off.
    Uncounted,
    /// It was not heard of for as long as a lease lasts, and has not said that it ends.
    Lost,
}

impl Lifecycle {
    /// The nodes that run, and those that were lost within the last hour, by id.
    ///
    /// # Errors
    /// [`StoreError`].
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
