use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_store::{Method, ProjectId};

use super::ProjectBody;
use crate::{auth::Caller, context::Shared, error::Error, path_id::PathId};

/// One project. Any scope.
#[utoipa::path(get, path = "/public_api/v1/projects/{id}", tag = "projects", operation_id = "getProject",
    params(("id" = String, Path, description = "The project's id.")),
    responses((status = 200, description = "The project.", body = ProjectBody)))]
pub(crate) async fn show(State(api): State<Shared>, caller: Caller, id: PathId) -> Result<Response, Error> {
    let missing = || Error::NotFound("The project does not exist.");
    let id = id.parse(|text| ProjectId::parse(text).ok()).filter(|id| caller.sees(id)).ok_or_else(missing)?;
    let project = api.lifecycle.store().project(&id).await?.ok_or_else(missing)?;
    // Apart from a deployment's of the same id.
    let subject = format!("/projects/{id}");
    api.limited(&caller, &subject, Method::Neighbours, async {
        Ok(Json(ProjectBody::from(project)).into_response())
    })
    .await
}
