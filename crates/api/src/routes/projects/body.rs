use crate::{
    error::Error,
    openapi::vocabulary::{DescriptionText, HostSuffixText, LabelText, ProjectIdText, UpstreamAllowText},
};
use certward_store::Project;
use serde::Serialize;
use utoipa::ToSchema;

/// A project.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Project)]
pub(crate) struct ProjectBody {
    #[serde(rename = "projectID")]
    #[schema(value_type = ProjectIdText)]
    project_id: String,
    /// For people; may be empty.
    #[serde(rename = "projectName")]
    #[schema(value_type = LabelText)]
    project_name: String,
    /// For people; may be empty.
    #[schema(value_type = DescriptionText)]
    description: String,
    /// Where its deployments may relay to; absent: wherever the nodes may.
    #[serde(rename = "upstreamAllow", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Vec<UpstreamAllowText>>, min_items = 1, max_items = 100)]
    upstream_allow: Option<Vec<String>>,
    /// The names that it alone may claim, with all names under them, and the only ones that it may;
    /// absent: it may claim what is no project's.
    #[serde(rename = "hostSuffixes", skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, value_type = Vec<HostSuffixText>, max_items = 100)]
    host_suffixes: Vec<String>,
}

impl From<Project> for ProjectBody {
    fn from(project: Project) -> Self {
        Self {
            project_id: project.id.to_string(),
            project_name: project.name,
            description: project.description,
            upstream_allow: project.boundary.upstream_allow.map(|allow| allow.texts()),
            host_suffixes: project.boundary.host_suffixes.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A boundary affects other projects too.
pub(super) fn no_boundary() -> Error {
    Error::NoAccess("Only an API key that sees all projects can change what a project may claim.")
}
