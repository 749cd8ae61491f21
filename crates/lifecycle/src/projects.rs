use certward_store::{ApiKeyRecord, Project, ProjectId, StoreError};
use thiserror::Error;

use crate::Lifecycle;

/// Why a project was not made or removed.
#[derive(Debug, Error)]
pub enum ProjectError {
    /// The id is taken.
    #[error("a project of this id exists")]
    Exists,
    /// It does not exist.
    #[error("the project does not exist")]
    NotFound,
    /// It has deployments.
    #[error("the project has {0} deployments")]
    NotEmpty(u64),
    /// The project `default` always exists.
    #[error("the default project cannot be removed")]
    Default,
    /// The store failed; nothing was changed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Lifecycle {
    /// Makes a project; the id is drawn when absent.
    ///
    /// # Errors
    /// [`ProjectError`].
    pub async fn create_project(
        &self,
        _actor: &ApiKeyRecord,
        _id: Option<ProjectId>,
        _name: String,
        _description: String,
    ) -> Result<Project, ProjectError> {
        todo!("lifecycle")
    }

    /// Removes a project without deployments.
    ///
    /// # Errors
    /// [`ProjectError`].
    pub async fn remove_project(&self, _actor: &ApiKeyRecord, _id: &ProjectId) -> Result<(), ProjectError> {
        todo!("lifecycle")
    }
}
