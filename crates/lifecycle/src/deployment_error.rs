use certward_pki::HostName;
use certward_store::{HostTaken, StoreError};
use thiserror::Error;

use crate::{Denied, OutOfBounds};

/// Why a deployment was not created, changed or removed.
#[derive(Debug, Error)]
pub enum DeploymentError {
    /// No such deployment.
    #[error("the deployment does not exist")]
    NotFound,
    /// The id is taken.
    #[error("a deployment of this id exists")]
    Exists,
    /// No such project, or not visible.
    #[error("the project does not exist")]
    NoProject,
    /// Another deployment has it.
    #[error("the host {0} is taken by another deployment")]
    HostTaken(HostName),
    /// Not allowed.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A boundary forbids it.
    #[error(transparent)]
    OutOfBounds(#[from] OutOfBounds),
    /// The store failed; the change may have been made.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<HostTaken> for DeploymentError {
    fn from(HostTaken(host): HostTaken) -> Self {
        Self::HostTaken(host)
    }
}
