use axum::{
    extract::{Request, State},
    response::Response,
};

use super::super::{
    body::TlsBody,
    set::{CertificateWrite, set},
};
use crate::{
    auth::Caller,
    context::Shared,
    error::Error,
    openapi::vocabulary::{DeploymentIdText, FingerprintText},
    path_id::PathId,
};

/// Removes a client CA from those of the newest upload: a new version with its leaf, chain and key.
/// It is judged as it stands now, and refused like an upload. Devices that no other client CA
/// admits are disconnected; `impact` counts them, and `stragglers` lists them before. The only
/// client CA stays: 422 `CLIENT_CA_LAST`. Counted on its own, with the additions. Needs scope
/// `tls`.
#[utoipa::path(delete, path = "/deployments/{id}/tls/client-cas/{fingerprint}", tag = "tls", operation_id = "removeClientCA",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id."),
        ("fingerprint" = FingerprintText, Path, description = "The client CA's fingerprint."),
        ("Prefer" = Option<String>, Header, example = "handling=strict", description = "`handling=strict`: a severe impact is 422 `IMPACT_SEVERE`, and nothing is stored. What is not understood is ignored.")),
    responses((status = 200, description = "Stored; `pending` until every counted node has proven it.", body = TlsBody)))]
pub(crate) async fn remove(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    request: Request,
) -> Result<Response, Error> {
    // One in another form is none that there is.
    let fingerprint = PathId::client_ca_of(request.uri().path()).unwrap_or_default();
    set(&api, &caller, &id, request, CertificateWrite::RemoveClientCa(fingerprint)).await
}
