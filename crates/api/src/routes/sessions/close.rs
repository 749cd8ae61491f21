use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_lifecycle::ClosedSessions;
use certward_store::{Method, Scope};
use http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use super::filter::{filter, no_filter, no_gateway};
use crate::{
    auth::Caller,
    context::Shared,
    error::Error,
    openapi::vocabulary::{AddressText, DeploymentIdText, DeviceIdText, NodeIdText},
    page::ListQuery,
    path_id::PathId,
    silent_nodes,
};

/// Sessions that were closed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ClosedSessions)]
pub(crate) struct ClosedSessionsBody {
    closed: u64,
    /// With `device`: nodes that identify no devices, for `devices` is not `full` there, and whose
    /// sessions go on.
    #[schema(value_type = Vec<NodeIdText>)]
    anonymous_nodes: Vec<String>,
    /// Nodes with a gateway that have not answered, and whose sessions may go on; `*` for all but
    /// the one that answers.
    #[schema(value_type = Vec<NodeIdText>)]
    silent_nodes: Vec<String>,
}

/// Closes the sessions of a device, or those from an address, on all nodes with a gateway. Devices
/// may connect again. Counted on its own. 404 `NOT_FOUND` if no node has a gateway. Needs scope
/// `tls`.
#[utoipa::path(delete, path = "/deployments/{id}/sessions", tag = "devices", operation_id = "closeSessions",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id."),
        ("device" = Option<DeviceIdText>, Query, description = "Those of this device; either this or `address`."),
        ("address" = Option<AddressText>, Query, description = "Those from this IP address.")),
    responses((status = 200, description = "How many were closed.", body = ClosedSessionsBody)))]
pub(crate) async fn close(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    uri: Uri,
) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, Some(Scope::Tls), &id).await?;
    let subject = format!("{}/sessions", deployment.id);
    api.limited(&caller, &subject, Method::CloseSessions, async {
        let filter = filter(&ListQuery::read(&uri)?)?.ok_or_else(no_filter)?;
        let closed =
            api.lifecycle.close_sessions(caller.requester(), &deployment.reference(), &filter).await?;
        let ClosedSessions { closed, anonymous, silent } = closed.ok_or_else(no_gateway)?;
        let body = ClosedSessionsBody {
            closed,
            anonymous_nodes: anonymous.iter().map(ToString::to_string).collect(),
            silent_nodes: silent_nodes::named(&silent),
        };
        Ok(Json(body).into_response())
    })
    .await
}
