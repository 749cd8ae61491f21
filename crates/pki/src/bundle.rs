use rustls_pki_types::CertificateDer;
use thiserror::Error;
use time::OffsetDateTime;
use x509_parser::certificate::X509CertificateParser;
use x509_parser::nom::Parser as _;

use crate::PrivateKey;
use crate::name::common_name;

/// A leaf, its intermediates and its key, checked.
#[derive(Debug)]
pub struct Bundle {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKey,
    common_name: Option<String>,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

/// Why [`Bundle::new`] fails.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BundleError {
    /// The chain is empty.
    #[error("the chain holds no certificate")]
    Empty,
    /// The leaf is not X.509.
    #[error("the leaf cannot be read as an X.509 certificate")]
    UnreadableLeaf,
    /// Unreadable, or of an unserved kind.
    #[error("the private key cannot be used")]
    UnusableKey,
    /// Its signature does not verify with the leaf's key.
    #[error("the private key is not the leaf's")]
    KeyMismatch,
}

impl Bundle {
    /// Joins a chain (leaf first) and a key; a signature proves that they match.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKey) -> Result<Self, BundleError> {
        let leaf = chain.first().ok_or(BundleError::Empty)?;
        // Skips extensions: a bundle is rebuilt on each deployment's first use.
        let (rest, x509) = X509CertificateParser::new()
            .with_deep_parse_extensions(false)
            .parse(leaf)
            .map_err(|_| BundleError::UnreadableLeaf)?;
        if !rest.is_empty() {
            return Err(BundleError::UnreadableLeaf);
        }
        let common_name = common_name(x509.subject());
        let (not_before, not_after) = (x509.validity().not_before, x509.validity().not_after);
        let spki = x509.tbs_certificate.subject_pki.raw;
        let proof = key.signer().and_then(|signer| signer.prove()).ok_or(BundleError::UnusableKey)?;
        if !proof.belongs_to(spki) {
            return Err(BundleError::KeyMismatch);
        }
        Ok(Self {
            common_name,
            not_before: not_before.to_datetime(),
            not_after: not_after.to_datetime(),
            chain,
            key,
        })
    }

    /// Leaf first, without the root.
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

    /// The leaf's common name.
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
