use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_store::Method;

use super::body::ProjectBody;
use crate::{
    auth::Caller, context::Shared, error::Error, openapi::vocabulary::ProjectIdText, path_id::PathId,
};

/// One project. Any scope.
#[utoipa::path(get, path = "/projects/{id}", tag = "projects", operation_id = "getProject",
    params(("id" = ProjectIdText, Path, description = "The project's id.")),
    responses((status = 200, description = "The project.", body = ProjectBody)))]
pub(crate) async fn show(State(api): State<Shared>, caller: Caller, id: PathId) -> Result<Response, Error> {
    let project = api.project(&caller, &id).await?;
    // Distinct from a deployment of the same id.
    let subject = format!("/projects/{}", project.id);
    api.limited(&caller, &subject, Method::Neighbours, async {
        Ok(Json(ProjectBody::from(project)).into_response())
    })
    .await
}
