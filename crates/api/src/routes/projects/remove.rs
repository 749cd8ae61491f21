use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use certward_lifecycle::ProjectError;
use certward_store::{ProjectId, Scope};
use http::StatusCode;

use crate::{
    auth::Caller, context::Shared, error::Error, openapi::vocabulary::ProjectIdText, path_id::PathId,
};

/// Removes a project. One with deployments, and `default`, is 409. Needs scope `admin`.
#[utoipa::path(delete, path = "/projects/{id}", tag = "projects", operation_id = "deleteProject",
    params(("id" = ProjectIdText, Path, description = "The project's id.")),
    responses((status = 204, description = "Removed.")))]
pub(crate) async fn remove(State(api): State<Shared>, caller: Caller, id: PathId) -> Result<Response, Error> {
    caller.require(Scope::Admin)?;
    let id = id.parse(|text| ProjectId::parse(text).ok());
    let id = id.ok_or(ProjectError::NotFound)?;
    api.lifecycle.remove_project(caller.requester(), &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
