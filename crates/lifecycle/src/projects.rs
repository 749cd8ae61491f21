use certward_store::{ApiKey, ApiKeyRecord, AuditEntry, Project, ProjectId, Scope, StoreError};
use thiserror::Error;

use crate::{Denied, Lifecycle, acting::Acting};

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
    /// The key does not see all projects, and would not see the one that it made.
    #[error("the key does not see all projects")]
    LimitedKey,
    /// The key may not do it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed. Whether the change was made is not known where its answer was lost.
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
        actor: &ApiKey,
        id: Option<ProjectId>,
        name: String,
        description: String,
    ) -> Result<Project, ProjectError> {
        let Acting { mut tx, actor } = self.begin_as(actor, Scope::Admin).await?;
        if actor.projects.is_some() {
            return Err(ProjectError::LimitedKey);
        }
        let id = id.unwrap_or_else(|| self.drawn_text(|text| ProjectId::parse(text).ok()));
        let project = Project { id, name, description, created_at: tx.now() };
        if !tx.insert_project(&project).await? {
            return Err(ProjectError::Exists);
        }
        tx.audit(entry(&actor, "project.create", &project.id)).await?;
        tx.commit().await?;
        Ok(project)
    }

    /// Removes a project without deployments.
    ///
    /// # Errors
    /// [`ProjectError`].
    pub async fn remove_project(&self, actor: &ApiKey, id: &ProjectId) -> Result<(), ProjectError> {
        // The keys that see it lose it.
        let Acting { mut tx, actor } = self.begin_on_keys_as(actor).await?;
        if tx.project_to_remove(id).await?.is_none() || !actor.sees(id) {
            return Err(ProjectError::NotFound);
        }
        if *id == ProjectId::default_project() {
            return Err(ProjectError::Default);
        }
        match tx.deployments_in(id).await? {
            0 => {}
            count => return Err(ProjectError::NotEmpty(count)),
        }
        tx.remove_project(id).await?;
        tx.audit(entry(&actor, "project.remove", id)).await?;
        Ok(tx.commit().await?)
    }
}

fn entry(actor: &ApiKeyRecord, action: &'static str, id: &ProjectId) -> AuditEntry {
    AuditEntry { actor: actor.key.to_string(), action, subject: id.to_string(), detail: String::new() }
}
