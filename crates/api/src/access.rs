//! What a key may reach, and the order in which a request is checked, after its host and the end of its body
//! (`framing.rs`, 400):
//!
//! 1. authentication (`auth.rs`, 401),
//! 2. scope of the key (403),
//! 3. the deployment exists and the key sees it (404): 2 and 3 here,
//! 4. rate limit (`limit.rs`, 429),
//! 5. declared length (413),
//! 6. media type (415),
//! 7. body read and parsed (413, 400): 5 to 7 in `body.rs`,
//! 8. properties (422).
//!
//! A change asks for 1 to 3 once more, in its own transaction (`lifecycle`), for a body may take long. So does an answer that
//! is read only after a wait ([`Context::require_still`]).
//!
//! The order is contract. Steps 1 to 3 cost the caller no counted request, and none of 1 to 6 reads a byte of a body.

use certward_lifecycle::ProjectError;
use certward_store::{Deployment, DeploymentId, Project, ProjectId, Scope};

use crate::{auth::Caller, context::Context, error::Error, path_id::PathId};

impl Context {
    /// Steps 2 and 3: the deployment, if the key may do what `scope` allows (`None`: any valid key) and sees it. One
    /// outside the key's projects is answered like one that does not exist.
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
        let deployment = self.lifecycle.store().deployment(&id).await?;
        deployment.filter(|found| caller.sees(&found.project)).ok_or(Error::DeploymentNotFound)
    }

    /// The project, if the key sees it. One outside the key's projects is answered like one that does not exist.
    pub(crate) async fn project(&self, caller: &Caller, id: &PathId) -> Result<Project, Error> {
        let id = id.parse(|text| ProjectId::parse(text).ok()).filter(|id| caller.sees(id));
        let id = id.ok_or(ProjectError::NotFound)?;
        Ok(self.lifecycle.store().project(&id).await?.ok_or(ProjectError::NotFound)?)
    }

    /// Steps 1 to 3 once more, before an answer that the client or the gateway was waited for.
    pub(crate) async fn require_still(
        &self,
        caller: &Caller,
        scope: Scope,
        deployment: &Deployment,
    ) -> Result<(), Error> {
        let store = self.lifecycle.store();
        let key = store.api_key(&caller.key).await?.ok_or(Error::Unauthorized)?;
        if !key.may(scope) {
            return Err(Error::NoScope(scope));
        }
        let found = store.deployment(&deployment.id).await?;
        let same = found.filter(|found| deployment.reference().means(found) && key.sees(&found.project));
        same.map(drop).ok_or(Error::DeploymentNotFound)
    }
}
