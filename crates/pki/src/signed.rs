use rustls_pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::RawPublicKeyEntity;
use x509_parser::asn1_rs::Tag;

use crate::der::{element, sequence};
use crate::pss::Pss;
use crate::public_key::{KeyKind, VERIFIABLE_RSA_BITS};
use crate::work;

/// A signed X.509 structure (RFC 5280 §4.1.1), raw: x509-parser drops the raw algorithm.
pub(crate) struct Signed<'a> {
    /// With its header.
    pub(crate) content: &'a [u8],
    /// Without its SEQUENCE header.
    pub(crate) algorithm: &'a [u8],
    /// A whole number of bytes.
    pub(crate) signature: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignatureVerdict {
    Valid,
    /// Another key made it, or the content changed.
    Broken,
    /// Unsupported algorithm or key (SHA-1, RSA under 2048 bits, DSA, ...).
    Unsupported,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignatureKind {
    /// By webpki.
    Common,
    /// Here, but not by webpki.
    Uncommon,
    Unsupported,
}

impl<'a> Signed<'a> {
    /// `None` unless the DER is exactly three parts.
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

    /// `spki`: with its SEQUENCE header.
    pub(crate) fn verify(&self, spki: &[u8]) -> SignatureVerdict {
        work::signature();
        // webpki reports signatures by such a key as broken.
        if matches!(KeyKind::of_spki(spki), Some(KeyKind::Rsa { bits }) if !VERIFIABLE_RSA_BITS.contains(&bits))
        {
            return SignatureVerdict::Unsupported;
        }
        let spki = SubjectPublicKeyInfoDer::from(spki);
        let Ok(key) = RawPublicKeyEntity::try_from(&spki) else {
            return SignatureVerdict::Unsupported;
        };
        // Curves share identifiers (ECDSA with SHA-256): the key decides.
        let pss = Pss::read(self.algorithm);
        webpki::ALL_VERIFICATION_ALGS
            .iter()
            .copied()
            .filter(|candidate| candidate.signature_alg_id().as_ref() == self.algorithm)
            .chain(pss.as_ref().map(|pss| pss as &dyn SignatureVerificationAlgorithm))
            .filter_map(|candidate| match key.verify_signature(candidate, self.content, self.signature) {
                Ok(()) => Some(SignatureVerdict::Valid),
                Err(webpki::Error::InvalidSignatureForPublicKey) => Some(SignatureVerdict::Broken),
                Err(_) => None,
            })
            .next()
            .unwrap_or(SignatureVerdict::Unsupported)
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs::default_provider;

    use super::*;

    /// Else a CRL would not count for a certificate that a handshake takes.
    #[test]
    fn every_signature_that_a_handshake_takes_is_verified_here() {
        let known = |algorithm: &&dyn SignatureVerificationAlgorithm| {
            webpki::ALL_VERIFICATION_ALGS.iter().any(|other| {
                other.signature_alg_id() == algorithm.signature_alg_id()
                    && other.public_key_alg_id() == algorithm.public_key_alg_id()
            })
        };
        let taken = default_provider().signature_verification_algorithms.all;
        assert!(taken.len() > 10 && taken.iter().all(|algorithm| known(&(*algorithm as _))));
    }
}
