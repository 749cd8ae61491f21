use certward_store::{ApiKey, ApiKeyRecord, ApiSecret, ProjectId, Scope, StoreError};
use thiserror::Error;

use crate::Lifecycle;

/// Why an API key was not made or revoked.
#[derive(Debug, Error)]
pub enum KeyError {
    /// A key grants only what it has: this scope or this reach it has not.
    #[error("the key does not have what it would grant")]
    GrantsMore,
    /// A project does not exist, or the key does not see it.
    #[error("the project {0} does not exist")]
    NoProject(ProjectId),
    /// It does not exist.
    #[error("the key does not exist")]
    NotFound,
    /// It is the last that may do everything.
    #[error("it is the last admin key")]
    LastAdmin,
    /// The store failed; nothing was changed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Lifecycle {
    /// Makes an API key; its secret is shown here and never again.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn create_key(
        &self,
        _actor: &ApiKeyRecord,
        _name: &str,
        _scopes: &[Scope],
        _projects: Option<&[ProjectId]>,
    ) -> Result<(ApiKeyRecord, ApiSecret), KeyError> {
        todo!("lifecycle")
    }

    /// Makes an admin key without being asked by a key: for `init`, which needs the files.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create_first_key(
        store: &certward_store::Store,
    ) -> Result<(ApiKeyRecord, ApiSecret), StoreError> {
        let _ = store;
        todo!("lifecycle")
    }

    /// Revokes an API key.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn revoke_key(&self, _actor: &ApiKeyRecord, _key: &ApiKey) -> Result<(), KeyError> {
        todo!("lifecycle")
    }
}
