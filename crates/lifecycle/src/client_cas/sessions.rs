use certward_store::{DeploymentId, NodeId, StoreError};

use crate::{
    Lifecycle, NodeView, SessionsByClientCa, SilentNodes,
    asked_nodes::{Answers, AskedNodes},
    node_request::NodeRequest,
};

/// Sessions on all gateway nodes, by client CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SessionsByCa {
    /// In the order of the client CAs asked about.
    pub(super) sessions: Vec<u64>,
    /// Nodes that record no device: theirs are counted, and unknown once they are over.
    pub(super) anonymous: Vec<NodeId>,
    /// Nodes whose sessions are not counted.
    pub(super) silent: SilentNodes,
}

impl Lifecycle {
    /// `None`: there is no gateway node.
    pub(super) async fn sessions_by_client_ca(
        &self,
        deployment: &DeploymentId,
        client_cas: &[Vec<u8>],
    ) -> Result<Option<SessionsByCa>, StoreError> {
        let request = NodeRequest::SessionsByClientCa { client_cas: client_cas.to_vec() };
        let own = {
            let (deployment, client_cas) = (deployment.clone(), client_cas.to_vec());
            move |view: &dyn NodeView| view.sessions_by_client_ca(&deployment, &client_cas)
        };
        let answered = self.ask_nodes(AskedNodes::Listed, deployment, &request, own).await?;
        Ok(answered.map(|Answers { answers, silent }| {
            let mut all = SessionsByCa { sessions: vec![0; client_cas.len()], anonymous: Vec::new(), silent };
            for (node, SessionsByClientCa { sessions, records_devices }) in answers {
                all.sessions.iter_mut().zip(sessions).for_each(|(sum, sessions)| *sum += sessions);
                if !records_devices {
                    all.anonymous.push(node);
                }
            }
            all
        }))
    }
}
