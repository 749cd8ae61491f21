use std::collections::HashSet;

use rustls_pki_types::{AlgorithmIdentifier, alg_id};

use crate::certificate::Certificate;
use crate::pss::Pss;
use crate::rules::{covers, names_in_force};
use crate::signed::Signed;
use crate::{HostName, KeyKind};

/// A server's chain as its clients get it: the leaf, then its issuers, mostly without the root.
#[derive(Debug, Clone)]
pub struct ServedChain {
    leaf: Certificate,
    names: HashSet<HostName>,
    issuers: Vec<Certificate>,
}

impl ServedChain {
    /// DER, the leaf first. `None` if one is not an X.509 certificate, or there is none.
    pub fn read(chain: &[impl AsRef<[u8]>]) -> Option<Self> {
        let mut certificates = chain.iter().map(|der| Certificate::read(der.as_ref()).ok());
        let leaf = certificates.next()??;
        Some(Self { names: names_in_force(&leaf), leaf, issuers: certificates.collect::<Option<_>>()? })
    }

    /// Whether the leaf's names cover the host.
    pub fn covers(&self, host: &HostName) -> bool {
        covers(&self.names, host)
    }

    /// The leaf's public key.
    pub fn key_kind(&self) -> KeyKind {
        self.leaf.key_kind
    }

    pub(crate) fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        std::iter::once(&self.leaf).chain(&self.issuers)
    }

    /// The farthest from the leaf.
    pub(crate) fn top(&self) -> &Certificate {
        self.issuers.last().unwrap_or(&self.leaf)
    }

    /// For each signature that clients verify, the signature schemes that stand for it (RFC 8446
    /// §4.2.3). Roots are trusted as they are; an unknown algorithm is left out.
    pub(crate) fn signature_schemes(&self) -> impl Iterator<Item = &'static [u16]> {
        let signed = self.certificates().filter(|certificate| !certificate.is_self_signed());
        signed.filter_map(|certificate| schemes_of(Signed::split(&certificate.der)?.algorithm))
    }
}

/// ECDSA by its hash alone: the curve is that of the issuer's key, which may not be in the chain,
/// and clients verify both curves with both hashes.
const SCHEMES: [(AlgorithmIdentifier, &[u16]); 10] = [
    (alg_id::RSA_PKCS1_SHA256, &[0x0401]),
    (alg_id::RSA_PKCS1_SHA384, &[0x0501]),
    (alg_id::RSA_PKCS1_SHA512, &[0x0601]),
    (alg_id::RSA_PSS_SHA256, &[0x0804, 0x0809]),
    (alg_id::RSA_PSS_SHA384, &[0x0805, 0x080a]),
    (alg_id::RSA_PSS_SHA512, &[0x0806, 0x080b]),
    (alg_id::ECDSA_SHA256, &[0x0403]),
    (alg_id::ECDSA_SHA384, &[0x0503]),
    (alg_id::ECDSA_SHA512, &[0x0603]),
    (alg_id::ED25519, &[0x0807]),
];

/// `algorithm`: without its SEQUENCE header.
fn schemes_of(algorithm: &[u8]) -> Option<&'static [u16]> {
    // The salt's length is not part of a scheme.
    let usual = Pss::read(algorithm).map(|pss| pss.with_usual_salt());
    let algorithm = usual.as_deref().unwrap_or(algorithm);
    SCHEMES.iter().find(|(known, _)| known.as_ref() == algorithm).map(|(_, schemes)| *schemes)
}
