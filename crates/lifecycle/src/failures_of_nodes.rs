//! A deployment's failed handshakes, of every gateway node.
//!
//! Each node keeps its own in memory, so that strangers cost the store nothing.

use std::cmp::Reverse;

use certward_store::{DeploymentId, NodeId, StoreError};

use crate::{
    FailedHandshake, Lifecycle, SilentNodes,
    asked_nodes::{Answers, AskedNodes},
    failures_answer,
    node_request::{AnswerOfNode, NodeRequest},
};

/// The failed handshakes of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailuresOfNodes {
    /// Newest first, by the clocks of the nodes; at most [`crate::FAILURES_KEPT`] of each.
    pub failures: Vec<NodeFailure>,
    /// Which nodes are missing.
    pub silent: SilentNodes,
}

/// A failed handshake, and the node that saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFailure {
    /// The node.
    pub node: NodeId,
    /// What it saw.
    pub failure: FailedHandshake,
}

impl Lifecycle {
    /// Of all gateway nodes that [`Lifecycle::nodes`] lists. `None`: there is none.
    ///
    /// # Errors
    /// [`StoreError`], only on a node without a gateway: another one answers with its own failures.
    pub async fn failures_of_nodes(
        &self,
        deployment: &DeploymentId,
    ) -> Result<Option<FailuresOfNodes>, StoreError> {
        let own = {
            let deployment = deployment.clone();
            move |view: &dyn crate::NodeView| view.recent_failures(&deployment)
        };
        let answered = self.ask_nodes(AskedNodes::Listed, deployment, &NodeRequest::Failures, own).await?;
        Ok(answered
            .map(|Answers { answers, silent }| FailuresOfNodes { failures: newest_first(answers), silent }))
    }
}

impl AnswerOfNode for Vec<FailedHandshake> {
    fn read(answer: &str) -> Option<Self> {
        failures_answer::read(answer)
    }
}

fn newest_first(collected: Vec<(NodeId, Vec<FailedHandshake>)>) -> Vec<NodeFailure> {
    let of_node = |(node, failures): (NodeId, Vec<FailedHandshake>)| {
        failures.into_iter().map(move |failure| NodeFailure { node: node.clone(), failure })
    };
    let mut failures: Vec<NodeFailure> = collected.into_iter().flat_map(of_node).collect();
    failures.sort_by_key(|seen| Reverse(seen.failure.at));
    failures
}
