use certward_pki::DeviceId;
use certward_store::{AuditEntry, DeploymentRef, Scope, StoreError};
use thiserror::Error;

use crate::{Denied, Lifecycle, Requester, acting::Acting};

/// Why a device was not forgotten.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// No such deployment.
    #[error("the deployment does not exist")]
    NoDeployment,
    /// The deployment has no such device.
    #[error("the device is not known")]
    NotFound,
    /// Not allowed.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed; the change may have been made.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Lifecycle {
    /// Forgets a device. One that is connected, or connects again, is recorded again within an
    /// hour: a node records a device once an hour.
    pub async fn forget_device<'a>(
        &self,
        actor: impl Into<Requester<'a>>,
        wanted: &DeploymentRef,
        device: DeviceId,
    ) -> Result<(), DeviceError> {
        let mut acting = self.begin_as(actor.into(), Scope::Tls).await?;
        let deployment = acting.deployment(wanted).await?.ok_or(DeviceError::NoDeployment)?;
        let Acting { mut tx, origin, .. } = acting;
        if !tx.forget_device(&deployment.id, device).await? {
            return Err(DeviceError::NotFound);
        }
        // The name is personal data.
        tx.audit(AuditEntry {
            project: Some(deployment.project),
            deployment: Some(deployment.id.clone()),
            detail: device.to_string(),
            ..AuditEntry::new(origin, "device.forget", deployment.id.as_str())
        });
        Ok(tx.commit().await?)
    }
}
