use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use certward_lifecycle::ProjectChange;
use certward_store::Scope;
use utoipa::ToSchema;

use super::body::{ProjectBody, no_boundary};
use crate::{
    auth::Caller,
    body,
    context::Shared,
    error::Error,
    openapi::vocabulary::{DescriptionText, HostSuffixText, LabelText, ProjectIdText, UpstreamAllowText},
    path_id::PathId,
    property::Properties,
};

/// What to change of a project; what is absent stays.
#[derive(ToSchema)]
#[schema(as = ProjectChange)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct ProjectChangeBody {
    /// For people; at most 200 characters.
    #[schema(rename = "projectName", value_type = Option<LabelText>)]
    project_name: Option<String>,
    /// For people; at most 1000 characters.
    #[schema(value_type = Option<DescriptionText>)]
    description: Option<String>,
    /// Where its deployments may relay to: networks (`10.0.0.0/8`), addresses, names or addresses
    /// with ports (`broker.example:1883`); null takes the restriction away.
    #[schema(rename = "upstreamAllow", max_items = 100, value_type = Option<Vec<UpstreamAllowText>>, min_items = 1)]
    upstream_allow: Option<Vec<String>>,
    /// The names that it alone may claim, with all names under them, and the only ones that it may;
    /// null or an empty list takes them away.
    #[schema(rename = "hostSuffixes", max_items = 100, value_type = Option<Vec<HostSuffixText>>)]
    host_suffixes: Option<Vec<String>>,
}

/// Changes a project. `upstreamAllow` holds for every connection to a broker from then on, those
/// that live stay. Suffixes that hosts of deployments would break are 409, such as overlap with
/// another project's 422 `HOST_SUFFIX_TAKEN`. Needs scope `admin`; to change `upstreamAllow` or
/// `hostSuffixes` also a key that sees all projects.
#[utoipa::path(patch, path = "/projects/{id}", tag = "projects", operation_id = "changeProject",
    params(("id" = ProjectIdText, Path, description = "The project's id.")),
    request_body = ProjectChangeBody,
    responses((status = 200, description = "The project after the change.", body = ProjectBody)))]
pub(crate) async fn change(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    request: Request,
) -> Result<Response, Error> {
    caller.require(Scope::Admin)?;
    let id = api.project(&caller, &id).await?.id;
    let change = read(&body::read(request, api.settings.deadlines.body).await?)?;
    if caller.projects.is_some() && (change.upstream_allow.is_some() || change.host_suffixes.is_some()) {
        return Err(no_boundary());
    }
    let project = api.lifecycle.change_project(caller.requester(), &id, change).await?;
    Ok(Json(ProjectBody::from(project)).into_response())
}

fn read(bytes: &[u8]) -> Result<ProjectChange, Error> {
    let mut it = Properties::read(bytes)?;
    let change = ProjectChange {
        name: it.name("projectName"),
        description: it.description("description"),
        upstream_allow: it.upstream_allow("upstreamAllow"),
        host_suffixes: it.host_suffixes("hostSuffixes"),
    };
    it.finish()?;
    Ok(change)
}
