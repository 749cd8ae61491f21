//! Nodes: the running certwards, and who of them is waited for.

use axum::{Json, extract::State};
use certward_store::{NodeRecord, Scope};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{auth::Caller, context::Shared, error::Error, wire_time};

/// A node that counts: a change is `running` only once it has proven it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Node)]
pub(crate) struct NodeBody {
    /// From the file `node.id` in its data folder.
    #[serde(rename = "nodeID")]
    node_id: String,
    /// When it began to count, UTC.
    #[schema(example = "2026-11-25 08:20:40")]
    started_at: String,
    /// Unless it is heard of again, it counts no longer from then on, UTC.
    #[schema(example = "2026-11-25 08:20:55")]
    lease_until: String,
    /// How many changes wait for its proof.
    unproven: u64,
}

impl From<NodeRecord> for NodeBody {
    fn from(node: NodeRecord) -> Self {
        Self {
            node_id: node.id.to_string(),
            started_at: wire_time::to_the_second(node.started_at.to_time()),
            lease_until: wire_time::to_the_second(node.lease_until.to_time()),
            unproven: node.unproven,
        }
    }
}

/// The nodes that count, by id. One that has died is here until its lease ends. Needs scope `admin`.
#[utoipa::path(get, path = "/public_api/v1/nodes", tag = "nodes", operation_id = "listNodes",
    responses((status = 200, description = "A bare array.", body = [NodeBody])))]
pub(crate) async fn list(State(api): State<Shared>, caller: Caller) -> Result<Json<Vec<NodeBody>>, Error> {
    caller.require(Scope::Admin)?;
    let nodes = api.lifecycle.store().live_nodes().await?;
    Ok(Json(nodes.into_iter().map(NodeBody::from).collect()))
}
