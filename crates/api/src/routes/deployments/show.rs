use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_store::Method;

use super::body::DeploymentBody;
use crate::{
    auth::Caller, context::Shared, detail::Detail, error::Error, openapi::vocabulary::DeploymentIdText,
    path_id::PathId,
};

/// One deployment. Any scope.
#[utoipa::path(get, path = "/deployments/{id}", tag = "deployments", operation_id = "getDeployment",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id.")),
    responses((status = 200, description = "The deployment.", body = DeploymentBody)))]
pub(crate) async fn show(State(api): State<Shared>, caller: Caller, id: PathId) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, None, &id).await?;
    let subject = deployment.id.clone();
    api.limited(&caller, subject.as_str(), Method::Neighbours, async {
        let warnings = api.lifecycle.boundary_warnings(&deployment).await?;
        let warnings = warnings.iter().map(Detail::boundary_warning).collect();
        let mut body = api.deployment_body_now(deployment).await?;
        body.warnings = warnings;
        Ok(Json(body).into_response())
    })
    .await
}
