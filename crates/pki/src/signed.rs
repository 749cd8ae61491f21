use rustls_pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::RawPublicKeyEntity;
use x509_parser::asn1_rs::Tag;

use crate::der::{element, sequence};
use crate::pss::Pss;
use crate::public_key::{KeyKind, VERIFIABLE_RSA_BITS};
use crate::work;

/// The three parts that every signed X.509 structure has (RFC 5280 §4.1.1): x509-parser does not keep the raw
/// algorithm, and the signature is checked over raw bytes.
pub(crate) struct Signed<'a> {
    /// What is signed, with its header.
    pub(crate) content: &'a [u8],
    /// The AlgorithmIdentifier without its SEQUENCE header.
    pub(crate) algorithm: &'a [u8],
    /// The signature's bits; a whole number of bytes.
    pub(crate) signature: &'a [u8],
}

/// What a signature says about who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This key made it.
    Valid,
    /// Another key made it, or what it signs was changed.
    Broken,
    /// The algorithm or the key's kind is not supported (SHA-1, RSA under 2048 bits, DSA, ...).
    Unsupported,
}

/// How well an algorithm of signatures is supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignatureKind {
    /// By webpki.
    Common,
    /// Here, but not by webpki.
    Uncommon,
    Unsupported,
}

impl<'a> Signed<'a> {
    /// Splits DER; `None` unless it is exactly the three parts.
    pub(crate) fn split(der: &'a [u8]) -> Option<Self> {
        let (rest, outer) = sequence(der)?;
        let (after_content, _) = sequence(outer)?;
        let content = &outer[..outer.len() - after_content.len()];
        let (after_algorithm, algorithm) = sequence(after_content)?;
        let (after_signature, bits) = element(after_algorithm, Tag::BitString)?;
        let (&unused_bits, signature) = bits.split_first()?;
        (rest.is_empty() && after_signature.is_empty() && unused_bits == 0).then_some(Self {
            content,
            algorithm,
            signature,
        })
    }

    pub(crate) fn kind(&self) -> SignatureKind {
        let is_own =
            |known: &&dyn SignatureVerificationAlgorithm| known.signature_alg_id().as_ref() == self.algorithm;
        match webpki::ALL_VERIFICATION_ALGS.iter().any(is_own) {
            true => SignatureKind::Common,
            false if Pss::read(self.algorithm).is_some() => SignatureKind::Uncommon,
            false => SignatureKind::Unsupported,
        }
    }

    /// Whether the key in `spki` (with its SEQUENCE header) made this signature.
    pub(crate) fn verify(&self, spki: &[u8]) -> Verdict {
        work::signature();
        // webpki calls a signature by such a key broken, which it need not be.
        if matches!(KeyKind::of_spki(spki), Some(KeyKind::Rsa { bits }) if !VERIFIABLE_RSA_BITS.contains(&bits))
        {
            return Verdict::Unsupported;
        }
        let spki = SubjectPublicKeyInfoDer::from(spki);
        let Ok(key) = RawPublicKeyEntity::try_from(&spki) else {
            return Verdict::Unsupported;
        };
        // Several entries share one identifier (ECDSA with SHA-256 on each curve): the key decides.
        let pss = Pss::read(self.algorithm);
        webpki::ALL_VERIFICATION_ALGS
            .iter()
            .copied()
            .filter(|candidate| candidate.signature_alg_id().as_ref() == self.algorithm)
            .chain(pss.as_ref().map(|pss| pss as &dyn SignatureVerificationAlgorithm))
            .filter_map(|candidate| match key.verify_signature(candidate, self.content, self.signature) {
                Ok(()) => Some(Verdict::Valid),
                Err(webpki::Error::InvalidSignatureForPublicKey) => Some(Verdict::Broken),
                Err(_) => None,
            })
            .next()
            .unwrap_or(Verdict::Unsupported)
    }
}
