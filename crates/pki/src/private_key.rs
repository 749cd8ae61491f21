use std::fmt;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::SigningKey;
use rustls_pki_types::{PrivateKeyDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::RawPublicKeyEntity;
use zeroize::Zeroizing;

use crate::public_key::public_key_of_spki;

/// A leaf's private key as PKCS#8 DER. Wiped on drop; shown by no `Debug` and no `Display`.
pub struct PrivateKey {
    pkcs8: Zeroizing<Vec<u8>>,
}

impl PrivateKey {
    /// Wraps PKCS#8 DER. Whether it is a usable key shows when it is used: [`crate::Bundle::new`] checks.
    pub fn from_pkcs8_der(pkcs8: Zeroizing<Vec<u8>>) -> Self {
        Self { pkcs8 }
    }

    /// The key's bytes, for sealing and for signing only. Whoever calls this answers for every copy.
    pub fn expose_pkcs8_der(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The same bytes as rustls wants to borrow them.
    pub fn expose_rustls(&self) -> PrivateKeyDer<'_> {
        PrivateKeyDer::Pkcs8(self.expose_pkcs8_der().into())
    }

    /// Loads the key for signing; `None` if it is damaged, inconsistent or of a kind that is not served.
    pub(crate) fn signer(&self) -> Option<Signer> {
        any_supported_type(&self.expose_rustls()).ok().map(|key| Signer { key })
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(redacted)")
    }
}

/// A loaded key that can prove which public key it belongs to.
pub(crate) struct Signer {
    key: Arc<dyn SigningKey>,
}

/// One signature, made once and shown to any number of public keys.
pub(crate) struct Proof {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    signature: Vec<u8>,
}

/// What is signed; it begins unlike anything that TLS signs (RFC 8446 §4.4.3 begins with 64 spaces).
const STATEMENT: &[u8] = b"certward: this key belongs to the leaf";

/// The signatures that keys of the served kinds make, and how they are verified. Of RSA, PKCS#1 v1.5: it is
/// deterministic, and every RSA key that is served makes it.
const SCHEMES: &[(SignatureScheme, &dyn SignatureVerificationAlgorithm)] = &[
    (SignatureScheme::RSA_PKCS1_SHA256, webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA256),
    (SignatureScheme::ECDSA_NISTP256_SHA256, webpki::aws_lc_rs::ECDSA_P256_SHA256),
    (SignatureScheme::ECDSA_NISTP384_SHA384, webpki::aws_lc_rs::ECDSA_P384_SHA384),
    (SignatureScheme::ECDSA_NISTP521_SHA512, webpki::aws_lc_rs::ECDSA_P521_SHA512),
    (SignatureScheme::ED25519, webpki::aws_lc_rs::ED25519),
];

impl Signer {
    /// Signs the statement; `None` if the key cannot sign.
    pub(crate) fn prove(&self) -> Option<Proof> {
        SCHEMES.iter().find_map(|(scheme, algorithm)| {
            let signature = self.key.choose_scheme(&[*scheme])?.sign(STATEMENT).ok()?;
            Some(Proof { algorithm: *algorithm, signature })
        })
    }

    /// Whether this is the key's public part.
    pub(crate) fn has_public_key(&self, public_key: &[u8]) -> bool {
        self.key.public_key().is_some_and(|spki| public_key_of_spki(&spki) == Some(public_key))
    }

    /// Whether the key's private and public parts fit: its signature verifies with its own public key.
    pub(crate) fn is_consistent(&self, proof: &Proof) -> bool {
        self.key.public_key().is_some_and(|spki| proof.belongs_to(&spki))
    }
}

impl Proof {
    /// Whether the signature verifies with this public key (DER with its SEQUENCE header).
    pub(crate) fn belongs_to(&self, spki: &[u8]) -> bool {
        crate::work::signature();
        let spki = SubjectPublicKeyInfoDer::from(spki);
        RawPublicKeyEntity::try_from(&spki)
            .is_ok_and(|key| key.verify_signature(self.algorithm, STATEMENT, &self.signature).is_ok())
    }
}
