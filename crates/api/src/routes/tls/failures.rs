use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_lifecycle::FailedHandshake;
use certward_store::{Method, Scope};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{auth::Caller, context::Shared, error::Error, path_id::PathId, wire_time};

/// A handshake that failed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TlsFailure)]
pub(crate) struct FailureBody {
    /// When, UTC.
    #[schema(example = "2026-11-25 02:43:21")]
    at: String,
    /// The address that the device came from.
    #[schema(example = "192.0.2.7:50123")]
    address: String,
    /// The server name that the device sent, if it came so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    server_name: Option<Box<str>>,
    /// `1.2` or `1.3`, once it was agreed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tls_version: Option<&'static str>,
    /// The cause, from the list in docs/handshake-failures.md.
    #[schema(example = "certificate_expired")]
    cause: &'static str,
    /// What came, where the cause alone does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "MQTT level 6")]
    detail: Option<Box<str>>,
    /// What that means.
    message: &'static str,
    /// What to do about it.
    remedy: &'static str,
}

/// The newest failed handshakes of a deployment on the node that answers, newest first, at most 50.
/// Counted on its own. A node without a gateway answers 404 `NOT_FOUND`.
#[utoipa::path(get, path = "/public_api/v1/deployments/{id}/tls/failures", tag = "tls", operation_id = "listTlsFailures",
    params(("id" = String, Path, description = "The deployment's id.")),
    responses((status = 200, description = "The failures, newest first.", body = Vec<FailureBody>)))]
pub(crate) async fn failures(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, Some(Scope::TlsRead), &id).await?;
    if !api.settings.role.has_gateway() {
        // An empty list would mean no failures.
        return Err(Error::NotFound(
            "This node has no gateway, and no device comes here; ask a node that has one.",
        ));
    }
    // Counted apart, so that debugging uses up no other limit.
    let subject = format!("{}/tls/failures", deployment.id);
    api.limited(&caller, &subject, Method::Neighbours, async {
        let failures = api.lifecycle.node_view().recent_failures(&deployment.id);
        let failures: Vec<_> = failures.into_iter().map(FailureBody::from).collect();
        Ok(Json(failures).into_response())
    })
    .await
}

impl From<FailedHandshake> for FailureBody {
    fn from(failed: FailedHandshake) -> Self {
        Self {
            at: wire_time::to_the_second(failed.at.to_time()),
            address: failed.peer.to_string(),
            server_name: failed.server_name,
            tls_version: failed.tls_version,
            cause: failed.cause,
            detail: failed.detail,
            message: failed.meaning,
            remedy: failed.remedy,
        }
    }
}
