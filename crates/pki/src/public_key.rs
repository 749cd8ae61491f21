use std::fmt;

use x509_parser::asn1_rs::Tag;

use crate::der::{element, sequence};

/// RSA key sizes that webpki verifies.
pub(crate) const VERIFIABLE_RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A key's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA.
    Rsa {
        /// The modulus' length.
        bits: usize,
    },
    /// RSA restricted to PSS signatures (RFC 4055 §1.2).
    RsaPss,
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
    /// Another named curve.
    OtherCurve,
    /// A curve with explicit parameters.
    ExplicitCurve,
    /// Ed25519.
    Ed25519,
    /// Ed448.
    Ed448,
    /// DSA.
    Dsa,
    /// Anything else.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Rsa,
    Ecdsa,
    Eddsa,
    Other,
}

// OIDs as DER content (RFC 8017 §A.1, RFC 5480 §2.1.1, RFC 8410 §3, RFC 3279 §2.3.2).
pub(crate) const OID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const OID_RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
pub(crate) const OID_EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
pub(crate) const OID_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
pub(crate) const OID_P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
pub(crate) const OID_P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
pub(crate) const OID_ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const OID_ED448: &[u8] = &[0x2b, 0x65, 0x71];
const OID_DSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01];

impl KeyKind {
    /// Without its SEQUENCE header; RSA without its size.
    pub(crate) fn of_algorithm(algorithm: &[u8]) -> Option<Self> {
        let (parameters, oid) = element(algorithm, Tag::Oid)?;
        Some(match oid {
            OID_RSA => Self::Rsa { bits: 0 },
            OID_RSA_PSS => Self::RsaPss,
            OID_EC => Self::of_curve(parameters),
            OID_ED25519 => Self::Ed25519,
            OID_ED448 => Self::Ed448,
            OID_DSA => Self::Dsa,
            _ => Self::Other,
        })
    }

    /// RFC 5480 §2.1.1.
    pub(crate) fn of_curve(parameters: &[u8]) -> Self {
        match element(parameters, Tag::Oid) {
            Some((_, OID_P256)) => Self::P256,
            Some((_, OID_P384)) => Self::P384,
            Some((_, OID_P521)) => Self::P521,
            Some(_) => Self::OtherCurve,
            None if sequence(parameters).is_some() => Self::ExplicitCurve,
            None => Self::OtherCurve,
        }
    }

    /// With its SEQUENCE header.
    pub(crate) fn of_spki(spki: &[u8]) -> Option<Self> {
        let (_, content) = sequence(spki)?;
        let (after_algorithm, algorithm) = sequence(content)?;
        match Self::of_algorithm(algorithm)? {
            Self::Rsa { .. } => {
                let (_, bit_string) = element(after_algorithm, Tag::BitString)?;
                let (_, public_key) = sequence(bit_string.get(1..)?)?;
                let (_, modulus) = element(public_key, Tag::Integer)?;
                Some(Self::Rsa { bits: integer_bits(modulus) })
            }
            kind => Some(kind),
        }
    }

    /// webpki is the strictest client.
    pub(crate) fn is_verifiable(self) -> bool {
        match self {
            Self::Rsa { bits } => VERIFIABLE_RSA_BITS.contains(&bits),
            Self::P256 | Self::P384 | Self::P521 | Self::Ed25519 => true,
            _ => false,
        }
    }

    pub(crate) fn family(self) -> Family {
        match self {
            Self::Rsa { .. } | Self::RsaPss => Family::Rsa,
            Self::P256 | Self::P384 | Self::P521 | Self::OtherCurve | Self::ExplicitCurve => Family::Ecdsa,
            Self::Ed25519 | Self::Ed448 => Family::Eddsa,
            Self::Dsa | Self::Other => Family::Other,
        }
    }
}

/// With its SEQUENCE header.
pub(crate) fn public_key_of_spki(spki: &[u8]) -> Option<&[u8]> {
    let (_, content) = sequence(spki)?;
    let (after_algorithm, _) = sequence(content)?;
    let (_, bits) = element(after_algorithm, Tag::BitString)?;
    bits.get(1..)
}

pub(crate) fn integer_bits(content: &[u8]) -> usize {
    let leading = content.iter().take_while(|byte| **byte == 0).count();
    let significant = &content[leading..];
    significant.first().map_or(0, |first| significant.len() * 8 - first.leading_zeros() as usize)
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA {bits}"),
            Self::RsaPss => f.write_str("RSA-PSS"),
            Self::P256 => f.write_str("ECDSA P-256"),
            Self::P384 => f.write_str("ECDSA P-384"),
            Self::P521 => f.write_str("ECDSA P-521"),
            Self::OtherCurve => f.write_str("ECDSA on another curve"),
            Self::ExplicitCurve => f.write_str("ECDSA with explicit curve parameters"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Ed448 => f.write_str("Ed448"),
            Self::Dsa => f.write_str("DSA"),
            Self::Other => f.write_str("an unknown kind"),
        }
    }
}
