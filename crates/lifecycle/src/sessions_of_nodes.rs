//! The live sessions of a deployment, on every gateway node.

use std::collections::HashSet;

use certward_pki::{DenyKey, DeviceId};
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
    /// Nodes that identify no device, where the filter is by device; theirs are not selected.
    pub anonymous: Vec<NodeId>,
    /// Which nodes are missing.
    pub silent: SilentNodes,
}

/// Which devices have a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectedDevices {
    /// Through a node that has answered.
    pub connected: HashSet<DeviceId>,
    /// Another device may be connected through a node that has answered and identifies none.
    pub is_partial: bool,
    /// Which nodes are missing.
    pub silent: SilentNodes,
}

/// Sessions that were ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedSessions {
    /// How many.
    pub closed: u64,
    /// As of [`SessionsOfNodes`]: their sessions go on.
    pub anonymous: Vec<NodeId>,
    /// Nodes whose sessions may go on.
    pub silent: SilentNodes,
}

/// Sessions that deny keys find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeniedSessions {
    /// In the order of the keys.
    pub by_key: Vec<u64>,
    /// Which nodes are missing.
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
            let (answers, anonymous) = identifying(answers);
            let total = answers.iter().map(|(_, of_node)| of_node.total).sum();
            SessionsOfNodes { total, sessions: newest_first(answers, limit), anonymous, silent }
        }))
    }

    /// Which of the devices have a session, on all gateway nodes. `None`: there is none.
    ///
    /// # Errors
    /// [`StoreError`], only on a node without a gateway.
    pub async fn connected_devices(
        &self,
        deployment: &DeploymentId,
        devices: &[DeviceId],
    ) -> Result<Option<ConnectedDevices>, StoreError> {
        let request = NodeRequest::Connected { devices: devices.to_vec() };
        let own = {
            let (deployment, devices) = (deployment.clone(), devices.to_vec());
            move |view: &dyn NodeView| view.connected(&deployment, &devices)
        };
        let answered = self.ask_nodes(AskedNodes::Listed, deployment, &request, own).await?;
        Ok(answered.map(|Answers { answers, silent }| {
            let (answers, anonymous) = identifying(answers);
            let connected = answers.into_iter().flat_map(|(_, of_node)| of_node).collect();
            ConnectedDevices { connected, is_partial: !anonymous.is_empty(), silent }
        }))
    }

    /// How many sessions each of at most 1,000 deny keys finds, on all gateway nodes. `None`: there
    /// is none. A session with several of the keys counts for each.
    ///
    /// # Errors
    /// [`StoreError`], only on a node without a gateway.
    pub async fn denied_sessions(
        &self,
        deployment: &DeploymentId,
        keys: &[DenyKey],
    ) -> Result<Option<DeniedSessions>, StoreError> {
        let request = NodeRequest::DeniedSessions { keys: keys.to_vec() };
        let own = {
            let (deployment, keys) = (deployment.clone(), keys.to_vec());
            move |view: &dyn NodeView| view.denied_sessions(&deployment, &keys)
        };
        let answered = self.ask_nodes(AskedNodes::Listed, deployment, &request, own).await?;
        Ok(answered.map(|Answers { answers, silent }| {
            let mut by_key = vec![0; keys.len()];
            for (_, of_node) in answers {
                by_key.iter_mut().zip(of_node).for_each(|(sum, count): (&mut u64, u64)| *sum += count);
            }
            DeniedSessions { by_key, silent }
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
        Ok(answered.map(|Answers { answers, silent }| {
            let (answers, anonymous) = identifying(answers);
            let closed = answers.iter().map(|(_, closed)| closed).sum();
            ClosedSessions { closed, anonymous, silent }
        }))
    }
}

/// Answers, and the nodes that have none, for they identify no device.
fn identifying<T>(answers: Vec<(NodeId, Option<T>)>) -> (Vec<(NodeId, T)>, Vec<NodeId>) {
    let (mut found, mut anonymous) = (Vec::new(), Vec::new());
    for (node, answer) in answers {
        match answer {
            Some(answer) => found.push((node, answer)),
            None => anonymous.push(node),
        }
    }
    (found, anonymous)
}

/// For the audit, which is kept for longer than an address: a device by the id of its certificate.
fn described(filter: &SessionFilter) -> String {
    match filter {
        SessionFilter::All => "all".to_owned(),
        SessionFilter::Devices(devices) => {
            let ids: Vec<String> = devices.iter().map(ToString::to_string).collect();
            format!("of device {}", ids.join(", "))
        }
        SessionFilter::Address(_) => "from an address".to_owned(),
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
