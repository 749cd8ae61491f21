use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use certward_store::{Method, Scope};
use http::{StatusCode, Uri};

use crate::{
    auth::Caller,
    context::Shared,
    error::Error,
    openapi::vocabulary::{DeploymentIdText, RevocationIdText},
    path_id::PathId,
};

/// Removes a revocation from the deny-list. Devices that it alone refused may connect again.
/// Counted as the addition.
#[utoipa::path(delete, path = "/deployments/{id}/tls/revocations/{revocation}", tag = "revocation", operation_id = "removeRevocation",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id."),
        ("revocation" = RevocationIdText, Path, description = "The revocation's id.")),
    responses((status = 204, description = "Removed; durable.")))]
pub(crate) async fn remove(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    uri: Uri,
) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, Some(Scope::Tls), &id).await?;
    let subject = format!("{}/tls/revocations", deployment.id);
    api.limited(&caller, &subject, Method::Revocation, async {
        let revocation = PathId::revocation_of(uri.path()).ok_or(Error::RevocationNotFound)?;
        let reference = deployment.reference();
        api.lifecycle.remove_revocation(caller.requester(), &reference, revocation).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}
