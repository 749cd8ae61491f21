use certward_store::{DeploymentId, NodeId, NodeRecord, Role, StoreError};

use crate::{Lifecycle, NodeStatus};

/// Whom a deployment's newest change waits for. Both lists are by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AwaitedNodes {
    /// Counted nodes that have not proven it yet.
    pub waiting_for: Vec<NodeId>,
    /// Lost nodes: not counted, so the change settles without them.
    pub left_out: Vec<NodeId>,
}

impl Lifecycle {
    /// The nodes that the deployment's newest change waits for, and those it does not.
    pub async fn awaited_nodes(&self, id: &DeploymentId) -> Result<AwaitedNodes, StoreError> {
        let Some(deployment) = self.store.read().deployment(id).await? else {
            return Ok(AwaitedNodes::default());
        };
        let counted = self.store.read().counts(id).await?.into_iter();
        let unproven = counted.filter(|proof| proof.proven < deployment.generation);
        let nodes = self.nodes().await?.into_iter();
        let lost = nodes.filter(|(status, node)| *status == NodeStatus::Lost && may_serve_devices(node));
        Ok(AwaitedNodes {
            waiting_for: unproven.map(|proof| proof.node).collect(),
            left_out: lost.map(|(_, node)| node.id).collect(),
        })
    }
}

/// No change ever waited for a node without gateway.
fn may_serve_devices(node: &NodeRecord) -> bool {
    node.process.as_ref().is_none_or(|process| process.role != Role::Api.as_str())
}
