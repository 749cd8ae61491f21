//! What the live sessions of a deployment say of a change, on every gateway node.

use certward_store::{DeploymentId, StoreError};

use crate::{
    Lifecycle, LiveEvidence, NodeView, SilentNodes, TrustChange,
    asked_nodes::{Answers, AskedNodes},
    node_request::NodeRequest,
};

/// What the sessions on all counted nodes say of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceOfNodes {
    /// The sum.
    pub evidence: LiveEvidence,
    /// Nodes with sessions.
    pub nodes: u64,
    /// Nodes whose sessions are not in it.
    pub silent: SilentNodes,
}

/// Of no nodes.
impl Default for EvidenceOfNodes {
    fn default() -> Self {
        Self { evidence: LiveEvidence::default(), nodes: 0, silent: SilentNodes::These(Vec::new()) }
    }
}

impl Lifecycle {
    /// What the sessions on all counted nodes say of a change. `None`: there is no such node.
    ///
    /// # Errors
    /// [`StoreError`], only on a node without a gateway.
    pub async fn live_evidence(
        &self,
        deployment: &DeploymentId,
        change: &TrustChange,
    ) -> Result<Option<EvidenceOfNodes>, StoreError> {
        let request = NodeRequest::LiveEvidence(change.clone());
        let own = {
            let (deployment, change) = (deployment.clone(), change.clone());
            move |view: &dyn NodeView| view.live_evidence(&deployment, &change)
        };
        let answered = self.ask_nodes(AskedNodes::Counted, deployment, &request, own).await?;
        Ok(answered.map(|Answers { answers, silent }| {
            let nodes = answers.iter().filter(|(_, of_node)| of_node.sessions > 0).count() as u64;
            let of_nodes = answers.into_iter().map(|(_, of_node)| of_node);
            EvidenceOfNodes { evidence: of_nodes.fold(LiveEvidence::default(), sum), nodes, silent }
        }))
    }
}

fn sum(mut all: LiveEvidence, of_node: LiveEvidence) -> LiveEvidence {
    all.sessions += of_node.sessions;
    all.refused += of_node.refused;
    all.not_judged += of_node.not_judged;
    of_node.named.into_iter().for_each(|device| all.name(device));
    for (host, sessions) in of_node.hosts {
        match all.hosts.iter_mut().find(|(known, _)| *known == host) {
            Some((_, known)) => *known += sessions,
            None => all.hosts.push((host, sessions)),
        }
    }
    for offer in of_node.offers {
        match all.offers.iter_mut().find(|known| known.offer == offer.offer) {
            Some(known) => {
                known.sessions += offer.sessions;
                known.weight += offer.weight;
                known.largest += offer.largest;
            }
            None => all.offers.push(offer),
        }
    }
    all
}
