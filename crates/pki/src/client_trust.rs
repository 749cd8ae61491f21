use std::collections::HashSet;
use std::sync::Arc;

use rustls::DistinguishedName;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::CertificateDer;
use webpki::anchor_from_trusted_cert;

use crate::client_verifier::{ClientTrustError, ClientVerifier};

/// The client CAs of a two-way deployment: at least one, each a usable anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTrust {
    anchors: Vec<CertificateDer<'static>>,
}

impl ClientTrust {
    /// Keeps the order; drops duplicates.
    ///
    /// # Errors
    /// No anchor, or an unusable one.
    pub fn new(anchors: Vec<CertificateDer<'static>>) -> Result<Self, ClientTrustError> {
        let mut seen = HashSet::with_capacity(anchors.len());
        for (index, anchor) in anchors.iter().enumerate() {
            anchor_from_trusted_cert(anchor).map_err(|_| ClientTrustError::UnusableAnchor(index))?;
            seen.insert(anchor.as_ref());
        }
        if seen.is_empty() {
            return Err(ClientTrustError::Empty);
        }
        let kept = anchors.iter().filter(|anchor| seen.remove(anchor.as_ref())).cloned().collect();
        Ok(Self { anchors: kept })
    }

    /// The client CAs.
    pub fn anchors(&self) -> &[CertificateDer<'static>] {
        &self.anchors
    }

    /// Subjects (DER with SEQUENCE header), as a CertificateRequest lists them.
    pub fn subjects(&self) -> Vec<Vec<u8>> {
        // The constructor checked them.
        let anchors = self.anchors.iter().filter_map(|der| anchor_from_trusted_cert(der).ok());
        anchors
            .map(|anchor| DistinguishedName::in_sequence(anchor.subject.as_ref()).as_ref().to_vec())
            .collect()
    }

    /// Whether an anchor of `before` is gone.
    pub fn narrows(&self, before: &ClientTrust) -> bool {
        before.anchors.iter().any(|anchor| !self.anchors.contains(anchor))
    }

    /// The rustls verifier: webpki, plus version 1 end entities issued directly by an anchor.
    ///
    /// # Errors
    /// An anchor is unusable.
    pub fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, ClientTrustError> {
        ClientVerifier::build(&self.anchors, provider).map(|verifier| Arc::new(verifier) as _)
    }
}
