//! What a change does to a certificate, as the audit and the access log name it.

use certward_store::{CertificateChange, Deployment, StoreError, Tx, Version};

/// The newest upload is removed.
pub(crate) async fn removal(tx: &mut Tx, deployment: &Deployment) -> Result<CertificateChange, StoreError> {
    let removed = match deployment.tls.version() {
        Some(version) => tx.version(&deployment.id, version).await?,
        None => None,
    };
    Ok(CertificateChange { before: removed.as_ref().and_then(of_leaf), after: None })
}

/// `version` becomes the newest upload.
pub(crate) fn replacement(replaced: Option<&Version>, version: &Version) -> CertificateChange {
    CertificateChange { before: replaced.and_then(of_leaf), after: of_leaf(version) }
}

fn of_leaf(version: &Version) -> Option<String> {
    version.chain.first().map(|leaf| certward_pki::fingerprint(leaf))
}
