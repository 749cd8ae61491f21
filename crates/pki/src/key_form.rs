//! The forms in which private keys come (PKCS#1, SEC1, PKCS#8), turned into PKCS#8.
//!
//! The structure is looked at before any cryptography is: a key of a kind or size that is not served costs nothing,
//! and is named as what it is. Every buffer is allocated at its final size, so that none leaves a copy behind.

use x509_parser::asn1_rs::{Any, Class, FromDer, Tag};
use zeroize::Zeroizing;

use crate::PrivateKey;
use crate::encrypted_key::Closed;
use crate::pem::{Block, Label};
use crate::public_key::{KeyKind, OID_EC, OID_P256, OID_P384, OID_P521, OID_RSA, integer_bits};
use crate::signed::{element, sequence};

/// Why a block is no key that can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyFault {
    /// Encrypted PKCS#8.
    Encrypted,
    /// The same, and the password that was given did not open it.
    Closed(Closed),
    /// The structure is none of the three.
    Unreadable,
    /// It is a certificate, or another structure, under a key's label.
    NotAKey,
    /// Readable, but of a kind that is not served.
    Kind(KeyKind),
}

/// Reads a key block; `parameters` is the DER of an `EC PARAMETERS` block in front of it.
pub(crate) fn read(block: &Block, parameters: Option<&[u8]>) -> Result<(PrivateKey, KeyKind), KeyFault> {
    let der = block.der.as_slice();
    // The label is what a person wrote; the structure is what it is. Tools confuse RSA and plain PRIVATE KEY.
    match block.label {
        Label::EncryptedKey => Err(KeyFault::Encrypted),
        Label::DsaKey => Err(KeyFault::Kind(KeyKind::Dsa)),
        Label::Sec1Key | Label::Pkcs1Key | Label::Pkcs8Key => {
            if let Some(found) = pkcs8(der) {
                return found;
            }
            if let Some(found) = pkcs1(der) {
                return found;
            }
            if let Some(found) = sec1(der, parameters) {
                return found;
            }
            Err(other(der))
        }
        _ => Err(KeyFault::Unreadable),
    }
}

/// PrivateKeyInfo ::= SEQUENCE { version INTEGER, SEQUENCE { algorithm OID, … }, OCTET STRING, … } (RFC 5958 §2).
pub(crate) fn pkcs8(der: &[u8]) -> Option<Result<(PrivateKey, KeyKind), KeyFault>> {
    let (rest, info) = sequence(der)?;
    let (info, _version) = element(info, Tag::Integer)?;
    let (info, algorithm) = sequence(info)?;
    let (_, inner) = element(info, Tag::OctetString)?;
    if !rest.is_empty() {
        return Some(Err(KeyFault::Unreadable));
    }
    let kind = match KeyKind::of_algorithm(algorithm)? {
        KeyKind::Rsa { .. } => match rsa_bits(inner) {
            Some(bits) => KeyKind::Rsa { bits },
            None => return Some(Err(KeyFault::Unreadable)),
        },
        kind => kind,
    };
    Some(served(kind).map(|kind| (PrivateKey::from_pkcs8_der(Zeroizing::new(der.to_vec())), kind)))
}

/// RSAPrivateKey (RFC 8017 §A.1.2).
fn pkcs1(der: &[u8]) -> Option<Result<(PrivateKey, KeyKind), KeyFault>> {
    let kind = KeyKind::Rsa { bits: rsa_bits(der)? };
    let algorithm = [tlv_prefix(0x06, OID_RSA.len()).as_slice(), OID_RSA, &[0x05, 0x00]].concat();
    Some(served(kind).map(|kind| (wrap(&algorithm, der), kind)))
}

/// ECPrivateKey ::= SEQUENCE { 1, OCTET STRING, [0] parameters OPTIONAL, [1] publicKey OPTIONAL } (RFC 5915 §3).
fn sec1(der: &[u8], outer: Option<&[u8]>) -> Option<Result<(PrivateKey, KeyKind), KeyFault>> {
    let (rest, content) = sequence(der)?;
    let (after_version, version) = element(content, Tag::Integer)?;
    let (after_scalar, scalar) = element(after_version, Tag::OctetString)?;
    if version != [1] || !rest.is_empty() {
        return None;
    }
    let kind = match tagged(after_scalar, 0).or(outer) {
        Some(parameters) => KeyKind::of_curve(parameters),
        // Without any parameters, the length of the scalar tells; the proof by signature decides.
        None => match scalar.len() {
            32 => KeyKind::P256,
            48 => KeyKind::P384,
            66 => KeyKind::P521,
            _ => return Some(Err(KeyFault::Unreadable)),
        },
    };
    let curve = match kind {
        KeyKind::P256 => OID_P256,
        KeyKind::P384 => OID_P384,
        KeyKind::P521 => OID_P521,
        kind => return Some(Err(KeyFault::Kind(kind))),
    };
    let algorithm =
        [tlv_prefix(0x06, OID_EC.len()).as_slice(), OID_EC, tlv_prefix(0x06, curve.len()).as_slice(), curve]
            .concat();
    Some(Ok((wrap(&algorithm, der), kind)))
}

/// What else it may be: said only to name it.
fn other(der: &[u8]) -> KeyFault {
    let Some((_, content)) = sequence(der) else { return KeyFault::Unreadable };
    match sequence(content) {
        // EncryptedPrivateKeyInfo ::= SEQUENCE { SEQUENCE { algorithm OID, … }, OCTET STRING } (RFC 5958 §3).
        Some((rest, algorithm))
            if element(algorithm, Tag::Oid).is_some() && element(rest, Tag::OctetString).is_some() =>
        {
            KeyFault::Encrypted
        }
        Some(_) => KeyFault::NotAKey,
        None => KeyFault::Unreadable,
    }
}

fn served(kind: KeyKind) -> Result<KeyKind, KeyFault> {
    match kind {
        KeyKind::Rsa { bits } if !RSA_BITS.contains(&bits) => Err(KeyFault::Kind(kind)),
        KeyKind::Rsa { .. } | KeyKind::P256 | KeyKind::P384 | KeyKind::P521 | KeyKind::Ed25519 => Ok(kind),
        _ => Err(KeyFault::Kind(kind)),
    }
}

/// The sizes of RSA keys that are served.
pub(crate) const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// The size of an RSAPrivateKey with all its nine numbers; `None` if it is anything else.
fn rsa_bits(der: &[u8]) -> Option<usize> {
    let (rest, mut numbers) = sequence(der)?;
    let mut bits = 0;
    for place in 0..9 {
        let (after, number) = element(numbers, Tag::Integer)?;
        if place == 1 {
            bits = integer_bits(number);
        }
        numbers = after;
    }
    (rest.is_empty() && numbers.is_empty()).then_some(bits)
}

/// The content of an explicitly tagged, context-specific element at the front.
fn tagged(der: &[u8], number: u32) -> Option<&[u8]> {
    let (_, any) = Any::from_der(der).ok()?;
    (any.header.class() == Class::ContextSpecific && any.header.tag() == Tag(number)).then_some(any.data)
}

/// PrivateKeyInfo around a key of its own form.
fn wrap(algorithm: &[u8], key: &[u8]) -> PrivateKey {
    const VERSION: &[u8] = &[0x02, 0x01, 0x00];
    let algorithm_prefix = tlv_prefix(0x30, algorithm.len());
    let key_prefix = tlv_prefix(0x04, key.len());
    let content = VERSION.len() + algorithm_prefix.len() + algorithm.len() + key_prefix.len() + key.len();
    let prefix = tlv_prefix(0x30, content);
    let mut pkcs8 = Zeroizing::new(Vec::with_capacity(prefix.len() + content));
    for part in [&prefix, VERSION, &algorithm_prefix, algorithm, &key_prefix, key] {
        pkcs8.extend_from_slice(part);
    }
    PrivateKey::from_pkcs8_der(pkcs8)
}

/// Tag and DER length (X.690 §10.1).
fn tlv_prefix(tag: u8, len: usize) -> Vec<u8> {
    let bytes = len.to_be_bytes();
    let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    match significant {
        [] => vec![tag, 0],
        [short] if *short < 0x80 => vec![tag, *short],
        // At most eight bytes of length: the count fits.
        long => [&[tag, 0x80 | long.len() as u8], long].concat(),
    }
}
