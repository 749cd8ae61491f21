use certward_pki::PrivateKey;

use crate::{Deployment, DeploymentId, StoreError, Version, VersionId};

/// What a node reads to serve a deployment: from the store, or from its [`crate::Replica`] while
/// the store is down.
pub trait Records: Sync {
    /// One deployment.
    ///
    /// # Errors
    /// [`StoreError`].
    fn deployment(
        &self,
        id: &DeploymentId,
    ) -> impl Future<Output = Result<Option<Deployment>, StoreError>> + Send;

    /// An accepted upload.
    ///
    /// # Errors
    /// [`StoreError`].
    fn version(
        &self,
        deployment: &DeploymentId,
        version: VersionId,
    ) -> impl Future<Output = Result<Option<Version>, StoreError>> + Send;

    /// See [`crate::Store::last_proven_version`].
    ///
    /// # Errors
    /// [`StoreError`].
    fn last_proven_version(
        &self,
        deployment: &DeploymentId,
        before: VersionId,
    ) -> impl Future<Output = Result<Option<Version>, StoreError>> + Send;

    /// Opens a version's sealed key; `None` if erased.
    ///
    /// # Errors
    /// [`StoreError::Sealed`].
    fn private_key(
        &self,
        deployment: &DeploymentId,
        version: VersionId,
    ) -> impl Future<Output = Result<Option<PrivateKey>, StoreError>> + Send;
}
