//! Changes in the name of an API key.
//!
//! A request may take long between its head and its change, and its key may be revoked or narrowed meanwhile. So a change is
//! asked for by the name of the key alone: what the key may do is only in the record that the changing transaction reads, and
//! that stays so until its end. A deployment is named by a [`DeploymentRef`], so that a later one of its id is another one.

use certward_store::{ApiKey, ApiKeyRecord, Deployment, DeploymentRef, Scope, StoreError, Tx};
use thiserror::Error;

use crate::Lifecycle;

/// Why a change is not begun.
#[derive(Debug, Error)]
pub enum Denied {
    /// The API key does not exist any more.
    #[error("the API key does not exist")]
    NoKey,
    /// The API key does not have the scope, or not any more.
    #[error("the API key does not have the scope {}", .0.as_str())]
    NoScope(Scope),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A transaction, and the API key in whose name it is.
pub(crate) struct Acting {
    pub(crate) tx: Tx,
    /// As it is in this transaction.
    pub(crate) actor: ApiKeyRecord,
}

impl Lifecycle {
    /// Begins a change for which a key needs the scope.
    pub(crate) async fn begin_as(&self, key: &ApiKey, scope: Scope) -> Result<Acting, Denied> {
        Acting::with(self.store.begin_as(key).await?, scope)
    }

    /// Begins a change that other keys are affected by: for it a key needs the scope `admin`.
    pub(crate) async fn begin_on_keys_as(&self, key: &ApiKey) -> Result<Acting, Denied> {
        Acting::with(self.store.begin_on_keys_as(key).await?, Scope::Admin)
    }
}

impl Acting {
    fn with(begun: Option<(Tx, ApiKeyRecord)>, scope: Scope) -> Result<Self, Denied> {
        let (tx, actor) = begun.ok_or(Denied::NoKey)?;
        if actor.may(scope) { Ok(Self { tx, actor }) } else { Err(Denied::NoScope(scope)) }
    }

    /// The deployment, locked; `None` when it is gone, when another one has its id, or when the key does not see it.
    pub(crate) async fn deployment(
        &mut self,
        wanted: &DeploymentRef,
    ) -> Result<Option<Deployment>, StoreError> {
        let found = self.tx.deployment(&wanted.id).await?;
        Ok(found.filter(|found| wanted.means(found) && self.actor.sees(&found.project)))
    }
}
