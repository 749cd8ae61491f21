use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_store::Method;

use super::body::ProjectBody;
use crate::{auth::Caller, context::Shared, error::Error};

/// The projects that the key sees, by id. Any scope.
#[utoipa::path(get, path = "/projects", tag = "projects", operation_id = "listProjects",
    responses((status = 200, description = "A bare array.", body = [ProjectBody])))]
pub(crate) async fn list(State(api): State<Shared>, caller: Caller) -> Result<Response, Error> {
    api.limited(&caller, "/projects", Method::Neighbours, async {
        let projects = api.lifecycle.store().read().projects().await?.into_iter();
        let seen = projects.filter(|project| caller.sees(&project.id)).map(ProjectBody::from);
        Ok(Json(seen.collect::<Vec<_>>()).into_response())
    })
    .await
}
