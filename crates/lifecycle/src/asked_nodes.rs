//! A question to all gateway nodes.
//!
//! This node answers by itself, and asks the others through the store. It waits for those with a
//! sign of life, for a second at most; a node that has not answered is named, never passed over.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use certward_store::{DeploymentId, NodeId, NodeRecord, QuestionAnswer, Role, StoreError};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    Lifecycle, NodeStatus, NodeView,
    node_request::{AnswerOfNode, NodeRequest},
};

/// A node that runs answers in a tenth of it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// With the store's own work before and after.
const ASK_TIMEOUT: Duration = Duration::from_millis(1_500);

/// The gateway nodes that have not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SilentNodes {
    /// These, by id; lost ones too.
    These(Vec<NodeId>),
    /// All others: the store did not say which there are.
    AllOthers,
}

/// Which nodes are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AskedNodes {
    /// All that [`Lifecycle::nodes`] lists: draining and lost ones too.
    Listed,
    /// Those with a lease.
    Counted,
}

/// What nodes answered.
#[derive(Debug)]
pub(crate) struct Answers<T> {
    /// By node; this node's last.
    pub(crate) answers: Vec<(NodeId, T)>,
    pub(crate) silent: SilentNodes,
}

/// What the other nodes answered.
#[derive(Debug)]
pub(crate) struct OtherAnswers<T> {
    /// By node.
    pub(crate) answers: Vec<(NodeId, T)>,
    pub(crate) silent: SilentNodes,
}

impl Lifecycle {
    /// Asks the gateway nodes. `None`: there is none.
    ///
    /// # Errors
    /// [`StoreError`], only on a node without a gateway: another one has its own answer.
    pub(crate) async fn ask_nodes<T: AnswerOfNode + Send + 'static>(
        &self,
        asked: AskedNodes,
        deployment: &DeploymentId,
        request: &NodeRequest,
        own: impl FnOnce(&dyn NodeView) -> T + Send + 'static,
    ) -> Result<Option<Answers<T>>, StoreError> {
        let Some(others) = self.ask_others(asked, deployment, request).await? else { return Ok(None) };
        let OtherAnswers { mut answers, silent } = others;
        // Last, for the newest.
        if let Some(this) = self.node_view.gateway_node() {
            let view = Arc::clone(&self.node_view);
            let answer = tokio::task::spawn_blocking(move || own(&*view)).await;
            answers
                .push((this, answer.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))));
        }
        Ok(Some(Answers { answers, silent }))
    }

    /// Asks the gateway nodes but this one. `None`: there is none, and this node is none.
    ///
    /// # Errors
    /// As of [`Lifecycle::ask_nodes`].
    pub(crate) async fn ask_others<T: AnswerOfNode>(
        &self,
        asked: AskedNodes,
        deployment: &DeploymentId,
        request: &NodeRequest,
    ) -> Result<Option<OtherAnswers<T>>, StoreError> {
        let this = self.node_view.gateway_node();
        let deadline = Instant::now() + ASK_TIMEOUT;
        let (others, are_known) = match self.other_gateways(asked, this.as_ref(), deadline).await {
            Ok(others) => (others, true),
            Err(error) if this.is_none() => return Err(error),
            Err(error) => {
                tracing::warn!("the store does not list the nodes to ask: {error}");
                (Vec::new(), false)
            }
        };
        if this.is_none() && others.is_empty() {
            return Ok(None);
        }
        let answers = self.answers_of(&others, deployment, request, deadline).await;
        let heard: BTreeSet<NodeId> = answers.iter().map(|(node, _)| node.clone()).collect();
        let silent = others.into_iter().map(|(_, node)| node).filter(|node| !heard.contains(node)).collect();
        let silent = if are_known { SilentNodes::These(silent) } else { SilentNodes::AllOthers };
        Ok(Some(OtherAnswers { answers, silent }))
    }

    /// By id. None with an embedded store, which has one process.
    async fn other_gateways(
        &self,
        asked: AskedNodes,
        this: Option<&NodeId>,
        deadline: Instant,
    ) -> Result<Vec<(NodeStatus, NodeId)>, StoreError> {
        if !self.store.is_shared() {
            return Ok(Vec::new());
        }
        let listed = timeout_at(deadline, self.nodes()).await.unwrap_or_else(|_| Err(late()))?;
        let is_asked = |node: &NodeRecord| match asked {
            AskedNodes::Listed => has_gateway(node),
            AskedNodes::Counted => node.lease.is_some(),
        };
        let others = listed.into_iter().filter(|(_, node)| is_asked(node) && Some(&node.id) != this);
        Ok(others.map(|(status, node)| (status, node.id)).collect())
    }

    /// What can be read of the answers. Lost nodes are not waited for.
    async fn answers_of<T: AnswerOfNode>(
        &self,
        others: &[(NodeStatus, NodeId)],
        deployment: &DeploymentId,
        request: &NodeRequest,
        deadline: Instant,
    ) -> Vec<(NodeId, T)> {
        let living = others.iter().filter(|(status, _)| *status != NodeStatus::Lost);
        let awaited: BTreeSet<NodeId> = living.map(|(_, node)| node.clone()).collect();
        if awaited.is_empty() {
            return Vec::new();
        }
        let asked = timeout_at(deadline, self.ask(&awaited, deployment, request)).await;
        let answers = asked.unwrap_or_else(|_| Err(late())).unwrap_or_else(|error| {
            tracing::warn!("the other nodes cannot be asked: {error}");
            Vec::new()
        });
        let is_asked = |answer: &QuestionAnswer| others.iter().any(|(_, node)| *node == answer.node);
        let wanted = answers.into_iter().filter(is_asked);
        wanted.filter_map(|QuestionAnswer { node, body }| Some((node, T::read(&body)?))).collect()
    }

    async fn ask(
        &self,
        awaited: &BTreeSet<NodeId>,
        deployment: &DeploymentId,
        request: &NodeRequest,
    ) -> Result<Vec<QuestionAnswer>, StoreError> {
        let mut answers = self.store.answers();
        let question = self.store.ask_nodes(deployment, &request.to_text(), request.urgency()).await?;
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

fn late() -> StoreError {
    StoreError::Unavailable("it does not answer in time".to_owned())
}
