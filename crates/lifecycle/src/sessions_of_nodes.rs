//! The live sessions of a deployment, on every gateway node.

use certward_store::{AuditEntry, DeploymentId, DeploymentRef, NodeId, Scope, StoreError};

use crate::{
    Lifecycle, LiveSession, NodeView, Requester, SessionFilter, SessionsOfNode, SilentNodes, TlsError,
    acting::Acting,
    asked_nodes::{Answers, AskedNodes},
    node_request::NodeRequest,
};

/// Sessions of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionsOfNodes {
    /// That the filter selects.
    pub total: u64,
    /// At most as many as wanted, the newest first, by the clocks of the nodes.
    pub sessions: Vec<(NodeId, LiveSession)>,
    /// Which nodes are missing.
    pub silent: SilentNodes,
}

/// Sessions that were ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedSessions {
    /// How many.
    pub closed: u64,
    /// Nodes whose sessions may go on.
    pub silent: SilentNodes,
}

impl Lifecycle {
    /// The sessions that the filter selects, on all gateway nodes. `None`: there is none.
    ///
    /// # Errors
    /// [`StoreError`], only on a node without a gateway.
    pub async fn sessions(
        &self,
        deployment: &DeploymentId,
        filter: &SessionFilter,
        limit: usize,
    ) -> Result<Option<SessionsOfNodes>, StoreError> {
        let request = NodeRequest::Sessions { filter: filter.clone(), limit };
        let own = {
            let (deployment, filter) = (deployment.clone(), filter.clone());
            move |view: &dyn NodeView| view.sessions(&deployment, &filter, limit)
        };
        let answered = self.ask_nodes(AskedNodes::Listed, deployment, &request, own).await?;
        Ok(answered.map(|Answers { answers, silent }| {
            let total = answers.iter().map(|(_, of_node)| of_node.total).sum();
            SessionsOfNodes { total, sessions: newest_first(answers, limit), silent }
        }))
    }

    /// Ends the sessions that the filter selects, on all gateway nodes. `None`: there is none.
    /// Devices may connect again.
    pub async fn close_sessions<'a>(
        &self,
        actor: impl Into<Requester<'a>>,
        wanted: &DeploymentRef,
        filter: &SessionFilter,
    ) -> Result<Option<ClosedSessions>, TlsError> {
        let mut acting = self.begin_as(actor.into(), Scope::Tls).await?;
        let deployment = acting.deployment(wanted).await?.ok_or(TlsError::NoDeployment)?;
        let Acting { mut tx, origin, .. } = acting;
        tx.audit(AuditEntry {
            project: Some(deployment.project),
            deployment: Some(deployment.id.clone()),
            detail: described(filter),
            ..AuditEntry::new(origin, "sessions.close", deployment.id.as_str())
        });
        tx.commit().await?;
        let request = NodeRequest::CloseSessions { filter: filter.clone() };
        let own = {
            let (deployment, filter) = (deployment.id.clone(), filter.clone());
            move |view: &dyn NodeView| view.close_sessions(&deployment, &filter)
        };
        let answered = self.ask_nodes(AskedNodes::Listed, &deployment.id, &request, own).await?;
        Ok(answered.map(|Answers { answers, silent }| ClosedSessions {
            closed: answers.iter().map(|(_, closed)| closed).sum(),
            silent,
        }))
    }
}

/// For the audit: a device by the id of its certificate.
fn described(filter: &SessionFilter) -> String {
    match filter {
        SessionFilter::All => "all".to_owned(),
        SessionFilter::Devices(devices) => {
            let ids: Vec<String> = devices.iter().map(ToString::to_string).collect();
            format!("of device {}", ids.join(", "))
        }
        SessionFilter::Address(address) => format!("from {address}"),
    }
}

fn newest_first(answers: Vec<(NodeId, SessionsOfNode)>, limit: usize) -> Vec<(NodeId, LiveSession)> {
    let of_node = |(node, of_node): (NodeId, SessionsOfNode)| {
        of_node.sessions.into_iter().map(move |session| (node.clone(), session))
    };
    let mut sessions: Vec<_> = answers.into_iter().flat_map(of_node).collect();
    sessions.sort_by_key(|(_, session)| std::cmp::Reverse(session.since));
    sessions.truncate(limit);
    sessions
}
