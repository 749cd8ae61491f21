use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use certward_store::Scope;
use http::StatusCode;
use utoipa::ToSchema;

use super::ProjectBody;
use crate::{auth::Caller, body, context::Shared, error::Error, property::Properties};

/// A project to make.
#[derive(ToSchema)]
#[schema(as = NewProject)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct NewProjectBody {
    /// 1 to 63 of `a-z 0-9 -`, not starting with `-`; drawn when absent.
    #[schema(rename = "projectID", example = "fleet")]
    project_id: Option<String>,
    /// For people; at most 200 characters.
    #[schema(rename = "projectName")]
    project_name: Option<String>,
    /// For people; at most 1000 characters.
    description: Option<String>,
}

/// Makes a project. Needs scope `admin` and a key that sees all projects: any other would not see what it made.
#[utoipa::path(post, path = "/public_api/v1/projects", tag = "projects", operation_id = "createProject",
    request_body = NewProjectBody,
    responses((status = 201, description = "Made.", body = ProjectBody)))]
pub(crate) async fn create(
    State(api): State<Shared>,
    caller: Caller,
    request: Request,
) -> Result<Response, Error> {
    caller.require(Scope::Admin)?;
    if caller.projects.is_some() {
        return Err(Error::LIMITED_KEY);
    }
    let mut it = Properties::read(&body::read(request, api.settings.deadlines.body).await?)?;
    let id = it.project_id("projectID");
    let name = it.name("projectName").unwrap_or_default();
    let description = it.description("description").unwrap_or_default();
    it.finish()?;
    let project = api.lifecycle.create_project(&caller.key, id, name, description).await?;
    Ok((StatusCode::CREATED, Json(ProjectBody::from(project))).into_response())
}
