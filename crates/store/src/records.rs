use certward_pki::PrivateKey;

use crate::{Deployment, DeploymentId, StoreError, Version, VersionId};

/// What a node reads to serve a deployment: from the store, or from its own [`crate::Replica`] of it while that is away. Who
/// reads says which of the two it is.
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

    /// Opens the sealed key of a version; `None` when it is erased.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] when it does not open.
    fn private_key(
        &self,
        deployment: &DeploymentId,
        version: VersionId,
    ) -> impl Future<Output = Result<Option<PrivateKey>, StoreError>> + Send;
}
