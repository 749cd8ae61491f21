//! Changes made by an API key.
//!
//! A key may be revoked or narrowed during a request, so its rights are read in the changing
//! transaction and hold until its end. A [`DeploymentRef`] excludes a later deployment of the same
//! id.

use certward_store::{ApiKeyRecord, AuditOrigin, Deployment, DeploymentRef, Scope, StoreError, Tx};
use thiserror::Error;

use crate::{Lifecycle, Requester};

/// Why no change is begun.
#[derive(Debug, Error)]
pub enum Denied {
    /// No such key.
    #[error("the API key does not exist")]
    NoKey,
    /// The key lacks the scope.
    #[error("the API key does not have the scope {}", .0.as_str())]
    NoScope(Scope),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub(crate) struct Acting {
    pub(crate) tx: Tx,
    pub(crate) actor: ApiKeyRecord,
    pub(crate) origin: AuditOrigin,
}

impl Lifecycle {
    pub(crate) async fn begin_as(&self, requester: Requester<'_>, scope: Scope) -> Result<Acting, Denied> {
        Acting::with(self.store.begin_as(requester.key).await?, requester, scope)
    }

    /// For changes that affect other keys.
    pub(crate) async fn begin_on_keys_as(&self, requester: Requester<'_>) -> Result<Acting, Denied> {
        Acting::with(self.store.begin_on_keys_as(requester.key).await?, requester, Scope::Admin)
    }
}

impl Acting {
    fn with(
        begun: Option<(Tx, ApiKeyRecord)>,
        requester: Requester<'_>,
        scope: Scope,
    ) -> Result<Self, Denied> {
        let (tx, actor) = begun.ok_or(Denied::NoKey)?;
        if !actor.may(scope) {
            return Err(Denied::NoScope(scope));
        }
        Ok(Self { tx, actor, origin: requester.origin() })
    }

    /// The deployment, locked. `None`: gone, replaced, or not visible to the key.
    pub(crate) async fn deployment(
        &mut self,
        wanted: &DeploymentRef,
    ) -> Result<Option<Deployment>, StoreError> {
        let found = self.tx.deployment(&wanted.id).await?;
        Ok(found.filter(|found| wanted.means(found) && self.actor.sees(&found.project)))
    }
}
