use certward_pki::{Bundle, ClientTrust, Material, TlsType};
use certward_store::{Deployment, DeploymentId, Reader, StoreError, Version};
use thiserror::Error;

use crate::{Lifecycle, narrows};

/// What a node should serve for a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignedCertificate {
    /// The newest accepted upload.
    pub newest: Version,
    /// Served if the newest is unservable: the newest older one proven and not wider in trust.
    /// `None`: refuse.
    pub fallback: Option<Version>,
}

/// Why a stored version is unusable.
#[derive(Debug, Error)]
pub enum MaterialError {
    /// Its key is erased.
    #[error("the private key is erased")]
    Erased,
    /// Not a valid bundle or client trust.
    #[error("the stored certificate cannot be used: {0}")]
    Unusable(String),
    /// The store failed, or the key does not unseal.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Lifecycle {
    pub(crate) async fn with_newest(
        &self,
        id: &DeploymentId,
    ) -> Result<Option<(Deployment, Option<Version>)>, StoreError> {
        with_newest(&self.store.read(), id).await
    }
}

/// The deployment's assignment. `None`: gone. No certificate: none set, or being deleted.
pub async fn assignment_in(
    reader: &Reader,
    id: &DeploymentId,
) -> Result<Option<(Deployment, Option<AssignedCertificate>)>, StoreError> {
    let Some((deployment, newest)) = with_newest(reader, id).await? else { return Ok(None) };
    let Some(newest) = newest else { return Ok(Some((deployment, None))) };
    let older = reader.last_proven_version(id, newest.version).await?;
    let fallback = older.filter(|older| !narrows(&newest, older));
    Ok(Some((deployment, Some(AssignedCertificate { newest, fallback }))))
}

/// Unseals the key and builds the material.
pub async fn material_in(reader: &Reader, version: &Version) -> Result<Material, MaterialError> {
    let key = reader.private_key(&version.deployment, version.version).await?;
    let key = key.ok_or(MaterialError::Erased)?;
    let chain = version.chain.iter().map(|der| der.clone().into()).collect();
    let bundle = Bundle::new(chain, key).map_err(|error| MaterialError::Unusable(error.to_string()))?;
    Ok(Material { bundle, client_trust: client_trust(version)? })
}

/// Two reads: if the upload is missing, the deployment changed and is read again. Missing for an
/// unchanged deployment is an error, never «no certificate».
async fn with_newest(
    reader: &Reader,
    id: &DeploymentId,
) -> Result<Option<(Deployment, Option<Version>)>, StoreError> {
    let mut without = None;
    loop {
        let Some(deployment) = reader.deployment(id).await? else { return Ok(None) };
        let Some(version) = deployment.tls.version() else { return Ok(Some((deployment, None))) };
        if let Some(newest) = reader.version(id, version).await? {
            return Ok(Some((deployment, Some(newest))));
        }
        // Each change draws a generation, so the loop ends when changes pause.
        if without.replace(deployment.generation) == Some(deployment.generation) {
            return Err(StoreError::Corrupt(format!("version {version} of {id} is missing")));
        }
    }
}

/// Fails closed: two-way without CAs is unusable.
fn client_trust(version: &Version) -> Result<Option<ClientTrust>, MaterialError> {
    match (version.tls_type, version.client_cas.is_empty()) {
        (TlsType::OneWay, true) => Ok(None),
        (TlsType::TwoWay, false) => {
            let anchors = version.client_cas.iter().map(|der| der.clone().into()).collect();
            ClientTrust::new(anchors).map(Some).map_err(|error| MaterialError::Unusable(error.to_string()))
        }
        (TlsType::OneWay, false) | (TlsType::TwoWay, true) => {
            Err(MaterialError::Unusable("its type and its client CAs do not fit together".into()))
        }
    }
}
