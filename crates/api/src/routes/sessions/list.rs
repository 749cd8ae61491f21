use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_lifecycle::{LiveSession, SessionFilter, SessionsOfNodes};
use certward_store::{Method, NodeId, Scope};
use http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use super::filter::{filter, no_gateway};
use crate::{
    auth::Caller,
    context::Shared,
    error::Error,
    openapi::vocabulary::{
        AddressText, CertificateNameText, DeploymentIdText, DeviceIdText, HostText, ListenerWord, NodeIdText,
        TlsVersionText, UtcTimeText,
    },
    page::ListQuery,
    path_id::PathId,
    silent_nodes, wire_time,
};

/// Sessions now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SessionList)]
pub(crate) struct SessionsBody {
    /// How many there are; the list may be shorter.
    total: u64,
    /// The newest first.
    #[schema(max_items = 1000)]
    sessions: Vec<SessionBody>,
    /// With `device`: nodes that identify no devices, for `devices` is not `full` there, and whose
    /// sessions are not in the list.
    #[schema(value_type = Vec<NodeIdText>)]
    anonymous_nodes: Vec<String>,
    /// Nodes with a gateway that have not answered; `*` for all but the one that answers.
    #[schema(value_type = Vec<NodeIdText>)]
    silent_nodes: Vec<String>,
}

/// A device's connection that its broker has answered.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Session)]
pub(crate) struct SessionBody {
    /// The node that it goes through.
    #[schema(value_type = NodeIdText)]
    node: String,
    /// The device, if it has a client certificate and `devices` is `full`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<DeviceIdText>)]
    device: Option<String>,
    /// Its name, as in the list of devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<CertificateNameText>)]
    name: Option<Box<str>>,
    /// The IP address that it came from.
    #[schema(value_type = AddressText)]
    address: String,
    /// The port that it came from.
    port: u16,
    /// The deployment's host that it asked for; absent if it asked for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<HostText>)]
    host: Option<Box<str>>,
    #[schema(value_type = ListenerWord)]
    listener: String,
    #[schema(value_type = TlsVersionText)]
    tls_version: String,
    /// When its broker answered, UTC, by the clock of the node.
    #[schema(value_type = UtcTimeText)]
    since: String,
}

/// The sessions of a deployment on all nodes with a gateway, newest first; without pages, for
/// sessions come and go: `device` and `address` find further ones. Nodes that do not answer within
/// a second are named. Counted on its own. 404 `NOT_FOUND` if no node has a gateway. Needs scope
/// `tls:read`.
#[utoipa::path(get, path = "/deployments/{id}/sessions", tag = "devices", operation_id = "listSessions",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id."),
        ("device" = Option<DeviceIdText>, Query, description = "Only those of this device."),
        ("address" = Option<AddressText>, Query, description = "Only those from this IP address; not with `device`."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "How many at most; 100 when absent.")),
    responses((status = 200, description = "Those that there are now.", body = SessionsBody)))]
pub(crate) async fn list(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    uri: Uri,
) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, Some(Scope::TlsRead), &id).await?;
    let subject = format!("{}/sessions", deployment.id);
    api.limited(&caller, &subject, Method::Neighbours, async {
        let query = ListQuery::read(&uri)?;
        let limit = query.limit()? as usize;
        let filter = filter(&query)?.unwrap_or(SessionFilter::All);
        let found = api.lifecycle.sessions(&deployment.id, &filter, limit).await?.ok_or_else(no_gateway)?;
        Ok(Json(SessionsBody::from(found)).into_response())
    })
    .await
}

impl From<SessionsOfNodes> for SessionsBody {
    fn from(found: SessionsOfNodes) -> Self {
        let SessionsOfNodes { total, sessions, anonymous, silent } = found;
        let sessions = sessions.into_iter().map(|(node, session)| SessionBody::of(&node, session)).collect();
        let anonymous_nodes = anonymous.iter().map(ToString::to_string).collect();
        Self { total, sessions, anonymous_nodes, silent_nodes: silent_nodes::named(&silent) }
    }
}

impl SessionBody {
    fn of(node: &NodeId, session: LiveSession) -> Self {
        Self {
            node: node.to_string(),
            device: session.device.map(|id| id.to_string()),
            name: session.name,
            address: session.address.ip().to_string(),
            port: session.address.port(),
            host: session.host,
            listener: session.listener,
            tls_version: session.tls_version,
            since: wire_time::to_the_second(session.since.to_time()),
        }
    }
}
