use axum::{extract::State, response::IntoResponse};
use certward_store::Scope;
use http::{StatusCode, Uri};

use crate::{
    auth::Caller, context::Shared, error::Error, openapi::vocabulary::DeploymentIdText, path_id::PathId,
};

/// Erases the private key of a version for good, such as a leaked one; the version stays in the
/// list. 204 also if it is erased already; 409 `VERSION_IN_SERVICE` for the newest, and for one
/// that nodes may serve until the newest is proven.
#[utoipa::path(delete, path = "/deployments/{id}/tls/versions/{version}", tag = "tls", operation_id = "eraseTlsVersion",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id."),
        ("version" = i64, Path, minimum = 1, example = 7, description = "The version's number.")),
    responses((status = 204, description = "Durable; the nodes erase their copies.")))]
pub(crate) async fn erase_version(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    uri: Uri,
) -> Result<impl IntoResponse, Error> {
    let deployment = api.deployment(&caller, Some(Scope::Tls), &id).await?;
    let version = PathId::version_of(uri.path()).ok_or(Error::VersionNotFound)?;
    api.lifecycle.erase_version(caller.requester(), &deployment.reference(), version).await?;
    Ok(StatusCode::NO_CONTENT)
}
