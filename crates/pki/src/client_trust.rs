use std::collections::HashSet;
use std::sync::Arc;

use rustls::DistinguishedName;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::CertificateDer;
use webpki::anchor_from_trusted_cert;

use crate::client_verifier::{ClientTrustError, ClientVerifier};

/// The client CAs of a two-way deployment: at least one, each usable as a trust anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTrust {
    anchors: Vec<CertificateDer<'static>>,
}

impl ClientTrust {
    /// Takes the anchors in the order given; exact duplicates are left out.
    ///
    /// # Errors
    /// [`ClientTrustError`] when there is none or one of them cannot be an anchor.
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

    /// The DER-encoded subject names (with their SEQUENCE header) as a CertificateRequest lists them.
    pub fn subjects(&self) -> Vec<Vec<u8>> {
        // The constructor has turned each of them into an anchor.
        let anchors = self.anchors.iter().filter_map(|der| anchor_from_trusted_cert(der).ok());
        anchors
            .map(|anchor| DistinguishedName::in_sequence(anchor.subject.as_ref()).as_ref().to_vec())
            .collect()
    }

    /// Whether a client that `before` trusted may not be trusted by `self`: an anchor is gone.
    pub fn narrows(&self, before: &ClientTrust) -> bool {
        before.anchors.iter().any(|anchor| !self.anchors.contains(anchor))
    }

    /// The verifier of client certificates for rustls: webpki's path validation, and a narrow path of its own
    /// for X.509 version 1 end entities issued directly by an anchor.
    ///
    /// # Errors
    /// [`ClientTrustError`] when an anchor cannot be used.
    pub fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, ClientTrustError> {
        ClientVerifier::build(&self.anchors, provider).map(|verifier| Arc::new(verifier) as _)
    }
}
