use rustls_pki_types::CertificateDer;
use thiserror::Error;
use time::OffsetDateTime;

use crate::PrivateKey;

/// A leaf, the intermediates that lead towards its root, and the leaf's private key, checked.
#[derive(Debug)]
pub struct Bundle {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKey,
    common_name: Option<String>,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

/// Why a chain and a key are no bundle.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BundleError {
    /// The chain is empty.
    #[error("the chain holds no certificate")]
    Empty,
    /// The leaf cannot be read as X.509.
    #[error("the leaf cannot be read as an X.509 certificate")]
    UnreadableLeaf,
    /// The key cannot be read, or is of a kind that is not served.
    #[error("the private key cannot be used")]
    UnusableKey,
    /// A signature made with the key does not verify with the leaf's public key.
    #[error("the private key is not the leaf's")]
    KeyMismatch,
}

impl Bundle {
    /// Puts a chain (leaf first) and the leaf's key together; a signature proves that they belong together.
    ///
    /// # Errors
    /// [`BundleError`] says which part is wrong.
    pub fn new(_chain: Vec<CertificateDer<'static>>, _key: PrivateKey) -> Result<Self, BundleError> {
        todo!("pki")
    }

    /// The chain as served: leaf first, then each issuer, the root left out.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The end-entity certificate.
    pub fn leaf(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }

    /// The leaf's private key.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The leaf's common name, if it has one.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The leaf's notBefore.
    pub fn not_before(&self) -> OffsetDateTime {
        self.not_before
    }

    /// The leaf's notAfter.
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }
}
