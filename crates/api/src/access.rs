//! The order of checks; it is contract. After `framing.rs` (400):
//!
//! 1 authentication (`auth.rs`, 401); 2 scope (403), 3 deployment visible to the key (404), here; 4
//! rate limit (`limit.rs`, 429); 5 declared length (413), 6 media type (415), 7 body (413, 400), in
//! `body.rs`; 8 properties (422).
//!
//! Steps 1 to 3 are not counted; 1 to 6 read no byte of a body. A change repeats 1 to 3 in its
//! transaction, a delayed answer in [`Context::require_still`].

use certward_lifecycle::ProjectError;
use certward_store::{Deployment, DeploymentId, Project, ProjectId, Scope};

use crate::{auth::Caller, context::Context, error::Error, path_id::PathId};

impl Context {
    /// Steps 2 and 3. `scope` `None`: any valid key.
    pub(crate) async fn deployment(
        &self,
        caller: &Caller,
        scope: Option<Scope>,
        id: &PathId,
    ) -> Result<Deployment, Error> {
        if let Some(scope) = scope {
            caller.require(scope)?;
        }
        let id = id.parse(|text| DeploymentId::parse(text).ok()).ok_or(Error::DeploymentNotFound)?;
        let deployment = self.lifecycle.store().read().deployment(&id).await?;
        deployment.filter(|found| caller.sees(&found.project)).ok_or(Error::DeploymentNotFound)
    }

    /// As [`Context::deployment`], for a project.
    pub(crate) async fn project(&self, caller: &Caller, id: &PathId) -> Result<Project, Error> {
        let id = id.parse(|text| ProjectId::parse(text).ok()).filter(|id| caller.sees(id));
        let id = id.ok_or(ProjectError::NotFound)?;
        Ok(self.lifecycle.store().read().project(&id).await?.ok_or(ProjectError::NotFound)?)
    }

    /// Steps 1 to 3 again, after a wait for the client or the gateway.
    pub(crate) async fn require_still(
        &self,
        caller: &Caller,
        scope: Scope,
        deployment: &Deployment,
    ) -> Result<(), Error> {
        let store = self.lifecycle.store();
        let key = store.read().api_key(&caller.key).await?;
        let key = key.filter(|key| key.is_valid_at(store.clock().now())).ok_or(Error::Unauthorized)?;
        if !key.may(scope) {
            return Err(Error::NoScope(scope));
        }
        let found = store.read().deployment(&deployment.id).await?;
        let same = found.filter(|found| deployment.reference().means(found) && key.sees(&found.project));
        same.map(drop).ok_or(Error::DeploymentNotFound)
    }
}
