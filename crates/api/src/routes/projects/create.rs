use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use certward_store::{Boundary, Scope};
use http::StatusCode;
use utoipa::ToSchema;

use super::body::ProjectBody;
use crate::{
    auth::Caller,
    body,
    context::Shared,
    error::Error,
    openapi::vocabulary::{DescriptionText, HostSuffixText, LabelText, ProjectIdText, UpstreamAllowText},
    property::Properties,
};

/// A project to make.
#[derive(ToSchema)]
#[schema(as = NewProject)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct NewProjectBody {
    /// 1 to 63 of `a-z 0-9 -`, not starting with `-`; drawn when absent.
    #[schema(rename = "projectID", value_type = Option<ProjectIdText>)]
    project_id: Option<String>,
    /// For people; at most 200 characters.
    #[schema(rename = "projectName", value_type = Option<LabelText>)]
    project_name: Option<String>,
    /// For people; at most 1000 characters.
    #[schema(value_type = Option<DescriptionText>)]
    description: Option<String>,
    /// Where its deployments may relay to: networks (`10.0.0.0/8`), addresses, names or addresses
    /// with ports (`broker.example:1883`); absent or null: wherever the nodes may.
    #[schema(rename = "upstreamAllow", max_items = 100, value_type = Option<Vec<UpstreamAllowText>>, min_items = 1)]
    upstream_allow: Option<Vec<String>>,
    /// The names that it alone may claim, with all names under them, and the only ones that it may.
    #[schema(rename = "hostSuffixes", max_items = 100, value_type = Option<Vec<HostSuffixText>>)]
    host_suffixes: Option<Vec<String>>,
}

/// Makes a project. Needs scope `admin` and a key that sees all projects: any other would not see
/// what it made. Suffixes that overlap with another project's are 422 `HOST_SUFFIX_TAKEN`, such as
/// have hosts of other projects under them 409.
#[utoipa::path(post, path = "/projects", tag = "projects", operation_id = "createProject",
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
    let boundary = Boundary {
        upstream_allow: it.upstream_allow("upstreamAllow").flatten(),
        host_suffixes: it.host_suffixes("hostSuffixes").unwrap_or_default(),
    };
    it.finish()?;
    let project = api.lifecycle.create_project(caller.requester(), id, name, description, boundary).await?;
    Ok((StatusCode::CREATED, Json(ProjectBody::from(project))).into_response())
}
