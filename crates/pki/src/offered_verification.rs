//! Whether a client can verify a chain, by what its ClientHello offers.

use crate::{ClientOffer, KeyKind, ServedChain};

const TLS12: u16 = 0x0303;
const TLS13: u16 = 0x0304;

impl ClientOffer {
    /// As rustls serves it: TLS 1.3 if the client has it, else TLS 1.2 with ECDHE and an AEAD.
    ///
    /// The leaf's key decides on `signature_algorithms` and, in TLS 1.2, on the suite and the curve
    /// (RFC 8422 §5.1); the chain's signatures must be among `signature_algorithms_cert`, if it is
    /// sent. Clients that verify more than they offer are taken at their word (RFC 8446 §4.2.3).
    pub fn can_verify(&self, chain: &ServedChain) -> bool {
        self.can_verify_signature_of(chain.key_kind())
            && chain.signature_schemes().all(|schemes| self.verifies_certificates_by(schemes))
    }

    fn can_verify_signature_of(&self, key: KeyKind) -> bool {
        let Some(needs) = Needs::of(key) else { return false };
        let offers = |schemes: &[u16]| has_one_of(&self.signature_schemes, schemes);
        if self.versions.contains(&TLS13) {
            return offers(needs.schemes);
        }
        self.versions.contains(&TLS12)
            && has_one_of(&self.cipher_suites, needs.suites_tls12)
            && (offers(needs.schemes) || offers(needs.schemes_tls12))
            && (self.groups.is_empty() || needs.curve.is_none_or(|curve| self.groups.contains(&curve)))
    }

    fn verifies_certificates_by(&self, schemes: &[u16]) -> bool {
        let offered = match &self.certificate_schemes[..] {
            [] => &self.signature_schemes,
            offered => offered,
        };
        has_one_of(offered, schemes)
    }
}

/// What a server's key needs of a client.
struct Needs {
    /// In any version.
    schemes: &'static [u16],
    /// In TLS 1.2 only.
    schemes_tls12: &'static [u16],
    suites_tls12: &'static [u16],
    /// Among the groups, in TLS 1.2.
    curve: Option<u16>,
}

/// rsa_pss_rsae with SHA-256, SHA-384, SHA-512.
const RSA_PSS: &[u16] = &[0x0804, 0x0805, 0x0806];
/// rsa_pkcs1 with the same.
const RSA_PKCS1: &[u16] = &[0x0401, 0x0501, 0x0601];
/// ECDHE with an AEAD, and RSA or ECDSA.
const RSA_SUITES: &[u16] = &[0xc02f, 0xc030, 0xcca8];
const ECDSA_SUITES: &[u16] = &[0xc02b, 0xc02c, 0xcca9];

impl Needs {
    /// `None`: a key that is not served.
    fn of(key: KeyKind) -> Option<Self> {
        let ecdsa = |schemes, curve| {
            let (suites_tls12, curve) = (ECDSA_SUITES, Some(curve));
            Some(Self { schemes, schemes_tls12: &[], suites_tls12, curve })
        };
        match key {
            KeyKind::Rsa { .. } => Some(Self {
                schemes: RSA_PSS,
                schemes_tls12: RSA_PKCS1,
                suites_tls12: RSA_SUITES,
                curve: None,
            }),
            KeyKind::P256 => ecdsa(&[0x0403], 23),
            KeyKind::P384 => ecdsa(&[0x0503], 24),
            KeyKind::P521 => ecdsa(&[0x0603], 25),
            KeyKind::Ed25519 => {
                Some(Self { schemes: &[0x0807], schemes_tls12: &[], suites_tls12: ECDSA_SUITES, curve: None })
            }
            _ => None,
        }
    }
}

fn has_one_of(offered: &[u16], wanted: &[u16]) -> bool {
    wanted.iter().any(|value| offered.contains(value))
}
