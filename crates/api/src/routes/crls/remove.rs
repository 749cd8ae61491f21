use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use certward_store::{Method, Scope};
use http::{StatusCode, Uri};

use super::crl_path::{existing, subject};
use crate::{
    auth::Caller,
    context::Shared,
    error::Error,
    openapi::vocabulary::{CrlIdText, DeploymentIdText},
    path_id::PathId,
};

/// Removes a CRL. Devices that it alone refused may connect again. Counted with PUT.
#[utoipa::path(delete, path = "/deployments/{id}/tls/crls/{crl}", tag = "revocation", operation_id = "removeCrl",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id."),
        ("crl" = CrlIdText, Path, description = "The CRL's id.")),
    responses((status = 204, description = "Removed; durable.")))]
pub(crate) async fn remove(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    uri: Uri,
) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, Some(Scope::Tls), &id).await?;
    api.limited(&caller, &subject(&deployment), Method::Revocation, async {
        let crl = existing(uri.path())?;
        api.lifecycle.remove_crl(caller.requester(), &deployment.reference(), &crl).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}
