//! Changes made by an API key.
//!
//! A key may be revoked or narrowed while a request is in progress. A change therefore names only
//! the key; its rights are read in the changing transaction and hold until its end. A
//! [`DeploymentRef`] excludes a later deployment of the same id.

use certward_store::{ApiKey, ApiKeyRecord, Deployment, DeploymentRef, Scope, StoreError, Tx};
use thiserror::Error;

use crate::Lifecycle;

/// Why a change is not begun.
#[derive(Debug, Error)]
pub enum Denied {
    /// The API key does not exist any more.
    #[error("the API key does not exist")]
    NoKey,
    /// The API key lacks the scope.
    #[error("the API key does not have the scope {}", .0.as_str())]
    NoScope(Scope),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A transaction on behalf of an API key.
pub(crate) struct Acting {
    pub(crate) tx: Tx,
    /// As read in this transaction.
    pub(crate) actor: ApiKeyRecord,
}

impl Lifecycle {
    /// Begins a change that requires the scope.
    pub(crate) async fn begin_as(&self, key: &ApiKey, scope: Scope) -> Result<Acting, Denied> {
        Acting::with(self.store.begin_as(key).await?, scope)
    }

    /// Begins a change that affects other keys; requires `admin`.
    pub(crate) async fn begin_on_keys_as(&self, key: &ApiKey) -> Result<Acting, Denied> {
        Acting::with(self.store.begin_on_keys_as(key).await?, Scope::Admin)
    }
}

impl Acting {
    fn with(begun: Option<(Tx, ApiKeyRecord)>, scope: Scope) -> Result<Self, Denied> {
        let (tx, actor) = begun.ok_or(Denied::NoKey)?;
        if actor.may(scope) { Ok(Self { tx, actor }) } else { Err(Denied::NoScope(scope)) }
    }

    /// The deployment, locked. `None`: gone, replaced under the same id, or not visible to the key.
    pub(crate) async fn deployment(
        &mut self,
        wanted: &DeploymentRef,
    ) -> Result<Option<Deployment>, StoreError> {
        let found = self.tx.deployment(&wanted.id).await?;
        Ok(found.filter(|found| wanted.means(found) && self.actor.sees(&found.project)))
    }
}
