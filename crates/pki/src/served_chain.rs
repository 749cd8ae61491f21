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
    /// Of the signatures that clients verify: roots are trusted as they are. Unknown algorithms are
    /// left out.
    signatures: Vec<&'static ChainSignature>,
}

/// An algorithm of certificates' signatures, and the signature schemes that stand for it (RFC 8446
/// §4.2.3).
#[derive(Debug)]
struct ChainSignature {
    identifier: AlgorithmIdentifier,
    name: &'static str,
    schemes: &'static [u16],
}

impl ServedChain {
    /// DER, the leaf first. `None` if one is not an X.509 certificate, or there is none.
    pub fn read(chain: &[impl AsRef<[u8]>]) -> Option<Self> {
        let mut certificates = chain.iter().map(|der| Certificate::read(der.as_ref()).ok());
        let leaf = certificates.next()??;
        let issuers: Vec<Certificate> = certificates.collect::<Option<_>>()?;
        let signed =
            std::iter::once(&leaf).chain(&issuers).filter(|certificate| !certificate.is_self_signed());
        let mut signatures: Vec<&'static ChainSignature> = signed.filter_map(ChainSignature::of).collect();
        signatures.sort_by_key(|signature| signature.name);
        signatures.dedup_by_key(|signature| signature.name);
        Some(Self { names: names_in_force(&leaf), leaf, issuers, signatures })
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

    /// The algorithms of the chain's signatures, such as `ECDSA with SHA-256`.
    pub fn signature_names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.signatures.iter().map(|signature| signature.name)
    }

    /// For each algorithm of the chain's signatures, the schemes that stand for it.
    pub(crate) fn signature_schemes(&self) -> impl Iterator<Item = &'static [u16]> + '_ {
        self.signatures.iter().map(|signature| signature.schemes)
    }
}

impl ChainSignature {
    const fn new(identifier: AlgorithmIdentifier, name: &'static str, schemes: &'static [u16]) -> Self {
        Self { identifier, name, schemes }
    }

    /// `None`: an unknown algorithm.
    fn of(certificate: &Certificate) -> Option<&'static Self> {
        let algorithm = Signed::split(&certificate.der)?.algorithm;
        // The salt's length is not part of a scheme.
        let usual = Pss::read(algorithm).map(|pss| pss.with_usual_salt());
        let algorithm = usual.as_deref().unwrap_or(algorithm);
        CHAIN_SIGNATURES.iter().find(|known| known.identifier.as_ref() == algorithm)
    }
}

/// ECDSA by its hash alone: the curve is that of the issuer's key, which may not be in the chain,
/// and clients verify both curves with both hashes.
static CHAIN_SIGNATURES: [ChainSignature; 10] = [
    ChainSignature::new(alg_id::RSA_PKCS1_SHA256, "RSA with SHA-256", &[0x0401]),
    ChainSignature::new(alg_id::RSA_PKCS1_SHA384, "RSA with SHA-384", &[0x0501]),
    ChainSignature::new(alg_id::RSA_PKCS1_SHA512, "RSA with SHA-512", &[0x0601]),
    ChainSignature::new(alg_id::RSA_PSS_SHA256, "RSA-PSS with SHA-256", &[0x0804, 0x0809]),
    ChainSignature::new(alg_id::RSA_PSS_SHA384, "RSA-PSS with SHA-384", &[0x0805, 0x080a]),
    ChainSignature::new(alg_id::RSA_PSS_SHA512, "RSA-PSS with SHA-512", &[0x0806, 0x080b]),
    ChainSignature::new(alg_id::ECDSA_SHA256, "ECDSA with SHA-256", &[0x0403]),
    ChainSignature::new(alg_id::ECDSA_SHA384, "ECDSA with SHA-384", &[0x0503]),
    ChainSignature::new(alg_id::ECDSA_SHA512, "ECDSA with SHA-512", &[0x0603]),
    ChainSignature::new(alg_id::ED25519, "Ed25519", &[0x0807]),
];
