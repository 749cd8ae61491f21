use std::fmt;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::SigningKey;
use rustls_pki_types::{PrivateKeyDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::RawPublicKeyEntity;
use zeroize::Zeroizing;

use crate::public_key::public_key_of_spki;

/// A leaf's private key as PKCS#8 DER: wiped on drop, redacted in `Debug`.
pub struct PrivateKey {
    pkcs8: Zeroizing<Vec<u8>>,
}

impl PrivateKey {
    /// Wraps unchecked DER; [`crate::Bundle::new`] checks it.
    pub fn from_pkcs8_der(pkcs8: Zeroizing<Vec<u8>>) -> Self {
        Self { pkcs8 }
    }

    /// The bytes, for sealing and signing only; the caller is responsible for every copy.
    pub fn expose_pkcs8_der(&self) -> &[u8] {
        &self.pkcs8
    }

    /// As rustls borrows them.
    pub fn expose_rustls(&self) -> PrivateKeyDer<'_> {
        PrivateKeyDer::Pkcs8(self.expose_pkcs8_der().into())
    }

    /// `None` if damaged, inconsistent or of an unserved kind.
    pub(crate) fn signer(&self) -> Option<Signer> {
        any_supported_type(&self.expose_rustls()).ok().map(|key| Signer { key })
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(redacted)")
    }
}

pub(crate) struct Signer {
    key: Arc<dyn SigningKey>,
}

/// One signature, checked against many public keys.
pub(crate) struct KeyProof {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    signature: Vec<u8>,
}

/// Differs from all that TLS signs: RFC 8446 §4.4.3 starts with 64 spaces.
const PROOF_MESSAGE: &[u8] = b"certward: this key belongs to the leaf";

/// RSA signs PKCS#1 v1.5: deterministic, and supported by every served key.
const SCHEMES: &[(SignatureScheme, &dyn SignatureVerificationAlgorithm)] = &[
    (SignatureScheme::RSA_PKCS1_SHA256, webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA256),
    (SignatureScheme::ECDSA_NISTP256_SHA256, webpki::aws_lc_rs::ECDSA_P256_SHA256),
    (SignatureScheme::ECDSA_NISTP384_SHA384, webpki::aws_lc_rs::ECDSA_P384_SHA384),
    (SignatureScheme::ECDSA_NISTP521_SHA512, webpki::aws_lc_rs::ECDSA_P521_SHA512),
    (SignatureScheme::ED25519, webpki::aws_lc_rs::ED25519),
];

impl Signer {
    pub(crate) fn prove(&self) -> Option<KeyProof> {
        SCHEMES.iter().find_map(|(scheme, algorithm)| {
            let signature = self.key.choose_scheme(&[*scheme])?.sign(PROOF_MESSAGE).ok()?;
            Some(KeyProof { algorithm: *algorithm, signature })
        })
    }

    pub(crate) fn has_public_key(&self, public_key: &[u8]) -> bool {
        self.key.public_key().is_some_and(|spki| public_key_of_spki(&spki) == Some(public_key))
    }

    pub(crate) fn is_consistent(&self, proof: &KeyProof) -> bool {
        self.key.public_key().is_some_and(|spki| proof.belongs_to(&spki))
    }
}

impl KeyProof {
    /// DER with its SEQUENCE header.
    pub(crate) fn belongs_to(&self, spki: &[u8]) -> bool {
        crate::work::signature();
        let spki = SubjectPublicKeyInfoDer::from(spki);
        RawPublicKeyEntity::try_from(&spki)
            .is_ok_and(|key| key.verify_signature(self.algorithm, PROOF_MESSAGE, &self.signature).is_ok())
    }
}
