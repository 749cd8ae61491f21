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

/// Sets the first certificate of a deployment; where one is set already it is 422
/// `TLS_ALREADY_EXISTS`.
#[utoipa::path(post, path = "/deployments/{id}/tls", tag = "tls", operation_id = "createTls",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id."),
        ("Prefer" = Option<String>, Header, example = "handling=strict", description = "`handling=strict`: a severe impact is 422 `IMPACT_SEVERE`, and nothing is stored. What is not understood is ignored.")),
    request_body = UploadBody,
    responses((status = 200, description = "Stored; `pending` until every counted node has proven it.", body = TlsBody)))]
pub(crate) async fn create(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    request: Request,
) -> Result<Response, Error> {
    set(&api, &caller, &id, request, CertificateWrite::Create).await
}
