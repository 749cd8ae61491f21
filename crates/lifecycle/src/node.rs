use certward_pki::Material;
use certward_store::{Deployment, DeploymentId, Generation, NodeId, StoreError, Version};
use thiserror::Error;

use crate::Lifecycle;

/// What a node should serve for a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The newest accepted upload.
    pub newest: Version,
    /// What to go on serving when the newest cannot be: the newest older version that was once proven, and than which the newest
    /// is not narrower in trust. `None`: refuse handshakes then.
    pub fallback: Option<Version>,
}

/// Why a stored version is no material.
#[derive(Debug, Error)]
pub enum MaterialError {
    /// Its key is erased.
    #[error("the private key is erased")]
    Erased,
    /// What is stored does not make a bundle or a client trust.
    #[error("the stored certificate cannot be used: {0}")]
    Unusable(String),
    /// The store failed, or the sealed key does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a node could not prove a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProofFailure {
    /// No listener and name lead to the deployment: `failed` at once.
    NoWayIn,
    /// The newest try failed, in one plain sentence; the node goes on trying. `failed` at the deadline.
    NotProven(String),
}

impl Lifecycle {
    /// A node begins to count, until its lease ends. Also renews the lease: call it every third of [`crate::Settings::lease`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn join(&self, _node: &NodeId) -> Result<(), StoreError> {
        todo!("lifecycle")
    }

    /// A node counts no longer: it drains.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn leave(&self, _node: &NodeId) -> Result<(), StoreError> {
        todo!("lifecycle")
    }

    /// What is true of a deployment now: `None` when it is gone; no certificate when none is set or it is being deleted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn assignment(
        &self,
        _id: &DeploymentId,
    ) -> Result<Option<(Deployment, Option<Certificate>)>, StoreError> {
        todo!("lifecycle")
    }

    /// Opens the key of a version and puts the material together.
    ///
    /// # Errors
    /// [`MaterialError`].
    pub async fn material(&self, _version: &Version) -> Result<Material, MaterialError> {
        todo!("lifecycle")
    }

    /// A node says that it serves `generation` and has proven it; or, where a deletion is being carried out, that it has let go;
    /// or why it could not. The last missing proof makes the change `running`. A report of an older generation than the deployment's
    /// is ignored.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn report(
        &self,
        _node: &NodeId,
        _deployment: &DeploymentId,
        _generation: Generation,
        _proof: Result<(), ProofFailure>,
    ) -> Result<(), StoreError> {
        todo!("lifecycle")
    }

    /// Lets time do its work: ends leases that are over, fails changes whose deadline is over. Called every second or so by one task of each
    /// node.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sweep(&self) -> Result<(), StoreError> {
        todo!("lifecycle")
    }
}
