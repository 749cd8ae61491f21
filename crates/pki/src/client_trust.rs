use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::CertificateDer;
use thiserror::Error;

/// The client CAs of a two-way deployment: at least one, each usable as a trust anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTrust {
    anchors: Vec<CertificateDer<'static>>,
}

/// Why certificates are no client trust.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClientTrustError {
    /// No certificate at all.
    #[error("there is no client CA")]
    Empty,
    /// The certificate with this index cannot be a trust anchor.
    #[error("client CA number {0} cannot be used as a trust anchor")]
    UnusableAnchor(usize),
}

impl ClientTrust {
    /// Takes the anchors in the order given; exact duplicates are left out.
    ///
    /// # Errors
    /// [`ClientTrustError`] when there is none or one of them cannot be an anchor.
    pub fn new(_anchors: Vec<CertificateDer<'static>>) -> Result<Self, ClientTrustError> {
        todo!("pki")
    }

    /// The client CAs.
    pub fn anchors(&self) -> &[CertificateDer<'static>] {
        &self.anchors
    }

    /// The DER-encoded subject names (with their SEQUENCE header) as a CertificateRequest lists them.
    pub fn subjects(&self) -> Vec<Vec<u8>> {
        todo!("pki")
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
        _provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, ClientTrustError> {
        todo!("pki")
    }
}
