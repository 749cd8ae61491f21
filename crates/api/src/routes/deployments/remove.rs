use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_store::Scope;
use http::StatusCode;

use crate::{
    auth::Caller, context::Shared, error::Error, openapi::vocabulary::DeploymentIdText, path_id::PathId,
};

/// Removes a deployment with its certificate, keys, hosts and connections.
#[utoipa::path(delete, path = "/deployments/{id}", tag = "deployments",
    operation_id = "deleteDeployment",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id.")),
    responses((status = 204, description = "Removed.")))]
pub(crate) async fn remove(State(api): State<Shared>, caller: Caller, id: PathId) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, Some(Scope::Deployments), &id).await?;
    let change = api.lifecycle.remove_deployment(caller.requester(), &deployment.reference()).await?;
    Ok((StatusCode::NO_CONTENT, Extension(change)).into_response())
}
