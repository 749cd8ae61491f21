use axum::{
    extract::{Request, State},
    response::Response,
};
use utoipa::ToSchema;

use super::{
    body::TlsBody,
    set::{CertificateWrite, set},
};
use crate::{
    auth::Caller, context::Shared, error::Error, openapi::vocabulary::DeploymentIdText, path_id::PathId,
};

/// Which version to go back to.
#[derive(ToSchema)]
#[schema(as = Rollback)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct RollbackBody {
    /// Its number; without it, the last one that was `running` before the newest.
    #[schema(minimum = 1, example = 7)]
    version: Option<i64>,
}

/// Makes an earlier version the newest upload, with its certificates, key and client CAs. It is
/// judged as it stands now, and refused like an upload, as when it has expired; otherwise it is a
/// new version. Counted on its own, apart from POST and PUT.
#[utoipa::path(post, path = "/deployments/{id}/tls/rollback", tag = "tls", operation_id = "rollbackTls",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id."),
        ("closeRate" = Option<u32>, Query, minimum = 1, maximum = 1_000_000, description = "Of devices that lose trust, how many are disconnected in a second, over all nodes; all at once when absent. New handshakes are refused at once all the same."),
        ("Prefer" = Option<String>, Header, example = "handling=strict", description = "`handling=strict`: a severe impact is 422 `IMPACT_SEVERE`, and nothing is stored. What is not understood is ignored.")),
    request_body = RollbackBody,
    responses((status = 200, description = "Stored; `pending` until every counted node has proven it.", body = TlsBody)))]
pub(crate) async fn rollback(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    request: Request,
) -> Result<Response, Error> {
    set(&api, &caller, &id, request, CertificateWrite::Rollback).await
}
