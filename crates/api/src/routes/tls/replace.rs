use axum::{
    extract::{Request, State},
    response::Response,
};

use super::{
    body::TlsBody,
    set::{CertificateWrite, set},
};
use crate::{
    auth::Caller, context::Shared, error::Error, openapi::vocabulary::DeploymentIdText, path_id::PathId,
    upload::UploadBody,
};

/// Replaces the certificate of a deployment; where none is set it is 404 `TLS_NOT_FOUND`.
#[utoipa::path(put, path = "/deployments/{id}/tls", tag = "tls", operation_id = "replaceTls",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id."),
        ("closeRate" = Option<u32>, Query, minimum = 1, maximum = 1_000_000, description = "Of devices that lose trust, how many are disconnected in a second, over all nodes; all at once when absent. New handshakes are refused at once all the same."),
        ("Prefer" = Option<String>, Header, example = "handling=strict", description = "`handling=strict`: a severe impact is 422 `IMPACT_SEVERE`, and nothing is stored. What is not understood is ignored.")),
    request_body = UploadBody,
    responses((status = 200, description = "Stored; `pending` until every counted node has proven it.", body = TlsBody)))]
pub(crate) async fn replace(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    request: Request,
) -> Result<Response, Error> {
    set(&api, &caller, &id, request, CertificateWrite::Replace).await
}
