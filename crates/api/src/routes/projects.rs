//! Projects: the deployments that belong together, and the reach of API keys.

use certward_store::Project;
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) mod create;
pub(crate) mod list;
pub(crate) mod remove;

pub(crate) use create::create;
pub(crate) use list::list;
pub(crate) use remove::remove;

/// A project.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Project)]
pub(crate) struct ProjectBody {
    #[serde(rename = "projectID")]
    #[schema(example = "default")]
    project_id: String,
    /// For people; may be empty.
    #[serde(rename = "projectName")]
    project_name: String,
    /// For people; may be empty.
    description: String,
}

impl From<Project> for ProjectBody {
    fn from(project: Project) -> Self {
        Self {
            project_id: project.id.to_string(),
            project_name: project.name,
            description: project.description,
        }
    }
}
