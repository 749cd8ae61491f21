//! A deployment's failed handshakes, of every gateway node.
//!
//! Each node keeps its own in memory, so that strangers cost the store nothing. This node adds its
//! own, and asks the others through the store. It waits for those with a sign of life, for a second
//! at most; a node that has not answered is named, never passed over.

use std::{cmp::Reverse, collections::BTreeSet, time::Duration};

use certward_store::{DeploymentId, NodeId, NodeRecord, QuestionAnswer, Role, StoreError};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{FailedHandshake, Lifecycle, NodeStatus, failures_answer};

/// A node that runs answers in a tenth of it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// With the store's own work before and after.
const ASK_TIMEOUT: Duration = Duration::from_millis(1_500);

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

/// The gateway nodes that have not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SilentNodes {
    /// These, by id; lost ones too.
    These(Vec<NodeId>),
    /// All others: the store did not say which there are.
    AllOthers,
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
        let this = self.node_view.gateway_node();
        let deadline = Instant::now() + ASK_TIMEOUT;
        let others = match self.other_gateways(this.as_ref(), deadline).await {
            Ok(others) => others,
            Err(error) if this.is_none() => return Err(error),
            Err(error) => {
                tracing::warn!("the store does not list the nodes to ask for failed handshakes: {error}");
                let failures = newest_first(self.own_failures(this, deployment));
                return Ok(Some(FailuresOfNodes { failures, silent: SilentNodes::AllOthers }));
            }
        };
        if this.is_none() && others.is_empty() {
            return Ok(None);
        }
        let mut collected = self.answers_of(&others, deployment, deadline).await;
        let heard: BTreeSet<NodeId> = collected.iter().map(|(node, _)| node.clone()).collect();
        let silent = others.into_iter().map(|(_, node)| node).filter(|node| !heard.contains(node)).collect();
        // Last, for the newest.
        collected.extend(self.own_failures(this, deployment));
        Ok(Some(FailuresOfNodes { failures: newest_first(collected), silent: SilentNodes::These(silent) }))
    }

    fn own_failures(
        &self,
        this: Option<NodeId>,
        deployment: &DeploymentId,
    ) -> Option<(NodeId, Vec<FailedHandshake>)> {
        this.map(|this| (this, self.node_view.recent_failures(deployment)))
    }

    /// By id. None with an embedded store, which has one process.
    async fn other_gateways(
        &self,
        this: Option<&NodeId>,
        deadline: Instant,
    ) -> Result<Vec<(NodeStatus, NodeId)>, StoreError> {
        if !self.store.is_shared() {
            return Ok(Vec::new());
        }
        let listed = timeout_at(deadline, self.nodes()).await.unwrap_or_else(|_| Err(late()))?;
        let others = listed.into_iter().filter(|(_, node)| has_gateway(node) && Some(&node.id) != this);
        Ok(others.map(|(status, node)| (status, node.id)).collect())
    }

    /// What can be read of the answers. Lost nodes are not waited for.
    async fn answers_of(
        &self,
        others: &[(NodeStatus, NodeId)],
        deployment: &DeploymentId,
        deadline: Instant,
    ) -> Vec<(NodeId, Vec<FailedHandshake>)> {
        let living = others.iter().filter(|(status, _)| *status != NodeStatus::Lost);
        let awaited: BTreeSet<NodeId> = living.map(|(_, node)| node.clone()).collect();
        if awaited.is_empty() {
            return Vec::new();
        }
        let asked = timeout_at(deadline, self.ask(&awaited, deployment)).await;
        let answers = asked.unwrap_or_else(|_| Err(late())).unwrap_or_else(|error| {
            tracing::warn!("the other nodes cannot be asked for failed handshakes: {error}");
            Vec::new()
        });
        let readable = |QuestionAnswer { node, body }| Some((node, failures_answer::read(&body)?));
        answers.into_iter().filter_map(readable).collect()
    }

    async fn ask(
        &self,
        awaited: &BTreeSet<NodeId>,
        deployment: &DeploymentId,
    ) -> Result<Vec<QuestionAnswer>, StoreError> {
        let mut answers = self.store.answers();
        let question = self.store.ask_nodes(deployment).await?;
        let all_answer = async {
            loop {
                let answered: BTreeSet<NodeId> =
                    self.store.answered_by(question).await?.into_iter().collect();
                if awaited.is_subset(&answered) {
                    return Ok::<_, StoreError>(());
                }
                answers.next().await;
            }
        };
        // On time-out some may have answered.
        timeout(ANSWER_TIMEOUT, all_answer).await.unwrap_or(Ok(()))?;
        self.store.take_answers(question).await
    }
}

/// A node of a release that does not report its role has a lease.
fn has_gateway(node: &NodeRecord) -> bool {
    let reports_one =
        |role: &str| Role::ALL.iter().any(|known| known.as_str() == role && known.has_gateway());
    node.lease.is_some() || node.process.as_ref().is_some_and(|process| reports_one(&process.role))
}

fn newest_first(collected: impl IntoIterator<Item = (NodeId, Vec<FailedHandshake>)>) -> Vec<NodeFailure> {
    let of_node = |(node, failures): (NodeId, Vec<FailedHandshake>)| {
        failures.into_iter().map(move |failure| NodeFailure { node: node.clone(), failure })
    };
    let mut failures: Vec<NodeFailure> = collected.into_iter().flat_map(of_node).collect();
    failures.sort_by_key(|seen| Reverse(seen.failure.at));
    failures
}

fn late() -> StoreError {
    StoreError::Unavailable("it does not answer in time".to_owned())
}
