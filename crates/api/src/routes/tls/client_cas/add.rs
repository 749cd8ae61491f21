use axum::{
    extract::{Request, State},
    response::Response,
};
use utoipa::ToSchema;

use super::super::{
    body::TlsBody,
    set::{CertificateWrite, set},
};
use crate::{
    auth::Caller,
    context::Shared,
    error::Error,
    openapi::vocabulary::{DeploymentIdText, PemText},
    path_id::PathId,
};

/// The client CAs to add.
#[derive(ToSchema)]
#[schema(as = AddedClientCas)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct AddedClientCasBody {
    /// One or more CAs in PEM.
    #[schema(value_type = PemText)]
    cacert: String,
}

/// Adds client CAs to those of the newest upload: a new version with its leaf, chain and key, which
/// need not be sent. It is judged as it stands now, and refused like an upload. Session tickets go
/// on, and no device is disconnected. CAs that are there already are left out; if all are, nothing
/// is changed. Counted on its own, with the removals. Needs scope `tls`.
#[utoipa::path(post, path = "/deployments/{id}/tls/client-cas", tag = "tls", operation_id = "addClientCAs",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id."),
        ("Prefer" = Option<String>, Header, example = "handling=strict", description = "`handling=strict`: a severe impact is 422 `IMPACT_SEVERE`, and nothing is stored. What is not understood is ignored.")),
    request_body = AddedClientCasBody,
    responses((status = 200, description = "Stored; `pending` until every counted node has proven it.", body = TlsBody)))]
pub(crate) async fn add(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    request: Request,
) -> Result<Response, Error> {
    set(&api, &caller, &id, request, CertificateWrite::AddClientCas).await
}
