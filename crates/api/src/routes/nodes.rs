//! The nodes.

use axum::{Json, extract::State};
use certward_lifecycle::NodeStatus;
use certward_store::{NodeRecord, Scope, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    auth::Caller,
    context::Shared,
    error::Error,
    openapi::vocabulary::{NodeIdText, RoleWord, UtcTimeText},
    wire_time,
};

/// A node, and whether a change waits for it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Node)]
pub(crate) struct NodeBody {
    /// From the file `node.id` in its data folder.
    #[serde(rename = "nodeID")]
    #[schema(value_type = NodeIdText)]
    node_id: String,
    status: NodeBodyStatus,
    /// Absent for a node of a release that did not say, as is `version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<RoleWord>)]
    role: Option<String>,
    /// The version of its program.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "0.1.0", max_length = 64)]
    version: Option<String>,
    /// When its process began, UTC.
    #[schema(value_type = UtcTimeText)]
    started_at: String,
    /// When its last heartbeat arrived, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<UtcTimeText>)]
    heard_at: Option<String>,
    /// When its lease ends unless another heartbeat arrives, UTC; after that it is not counted.
    /// Only of a counted node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<UtcTimeText>)]
    lease_until: Option<String>,
    /// How many changes wait for its proof.
    unproven: u64,
}

/// `counted`: a change is `running` only once this node has proven it. `uncounted`: it runs, and no
/// change waits for it: it has no gateway, catches up, or drains. `lost`: no heartbeat for 15 s,
/// and it did not end in order.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = NodeStatus)]
enum NodeBodyStatus {
    Counted,
    Uncounted,
    Lost,
}

impl From<NodeStatus> for NodeBodyStatus {
    fn from(status: NodeStatus) -> Self {
        match status {
            NodeStatus::Counted => Self::Counted,
            NodeStatus::Uncounted => Self::Uncounted,
            NodeStatus::Lost => Self::Lost,
        }
    }
}

impl From<(NodeStatus, NodeRecord)> for NodeBody {
    fn from((status, node): (NodeStatus, NodeRecord)) -> Self {
        let text = |time: Timestamp| wire_time::to_the_second(time.to_time());
        let started_at = node.process.as_ref().map(|process| process.started_at);
        Self {
            node_id: node.id.to_string(),
            status: status.into(),
            // One of them exists.
            started_at: started_at.or(node.lease.map(|lease| lease.since)).map(text).unwrap_or_default(),
            heard_at: node.process.as_ref().map(|process| text(process.heard_at)),
            lease_until: node.lease.map(|lease| text(lease.until)),
            unproven: node.unproven,
            role: node.process.as_ref().map(|process| process.role.clone()),
            version: node.process.map(|process| process.version),
        }
    }
}

/// The nodes that run, and those that were lost within the last hour, by id. Needs scope `admin`.
#[utoipa::path(get, path = "/nodes", tag = "nodes", operation_id = "listNodes",
    responses((status = 200, description = "A bare array.", body = [NodeBody])))]
pub(crate) async fn list(State(api): State<Shared>, caller: Caller) -> Result<Json<Vec<NodeBody>>, Error> {
    caller.require(Scope::Admin)?;
    let nodes = api.lifecycle.nodes().await?;
    Ok(Json(nodes.into_iter().map(NodeBody::from).collect()))
}
