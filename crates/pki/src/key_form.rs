//! Private key forms (PKCS#1, SEC1, PKCS#8) to PKCS#8.
//!
//! Structure is checked before cryptography: an unserved key costs nothing. Buffers have their
//! final size: reallocation would leave a copy.

use x509_parser::asn1_rs::{Any, Class, FromDer, Tag};
use zeroize::Zeroizing;

use crate::PrivateKey;
use crate::der::tlv_prefix;
use crate::der::{element, sequence};
use crate::encrypted_key::DecryptFault;
use crate::pem::{Block, Label};
use crate::public_key::{KeyKind, OID_EC, OID_ED25519, OID_P256, OID_P384, OID_P521, OID_RSA, integer_bits};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyFault {
    Encrypted,
    Decrypt(DecryptFault),
    /// None of the three forms.
    Unreadable,
    NotAKey,
    /// Of an unserved kind.
    Kind(KeyKind),
}

pub(crate) struct ReadKey {
    pub(crate) key: PrivateKey,
    pub(crate) kind: KeyKind,
    /// PKCS#8's public key, as in a SubjectPublicKeyInfo.
    pub(crate) public_key: Option<Vec<u8>>,
}

/// `parameters`: DER of an `EC PARAMETERS` block.
pub(crate) fn read(block: &Block, parameters: Option<&[u8]>) -> Result<ReadKey, KeyFault> {
    let der = block.der.as_slice();
    // The structure decides: tools confuse the labels RSA and plain PRIVATE KEY.
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

/// PrivateKeyInfo ::= SEQUENCE { version INTEGER, SEQUENCE { algorithm OID, … }, OCTET STRING, … }
/// (RFC 5958 §2). Rewritten to the minimum, which all libraries read.
pub(crate) fn pkcs8(der: &[u8]) -> Option<Result<ReadKey, KeyFault>> {
    let (rest, info) = sequence(der)?;
    let (info, _version) = element(info, Tag::Integer)?;
    let (info, algorithm) = sequence(info)?;
    let (more, inner) = element(info, Tag::OctetString)?;
    let kind = KeyKind::of_algorithm(algorithm)?;
    if !rest.is_empty() {
        return Some(Err(KeyFault::Unreadable));
    }
    Some(pkcs8_of(kind, algorithm, inner, more))
}

fn pkcs8_of(kind: KeyKind, algorithm: &[u8], inner: &[u8], more: &[u8]) -> Result<ReadKey, KeyFault> {
    let kind = match kind {
        KeyKind::Rsa { .. } => KeyKind::Rsa { bits: rsa_bits(inner).ok_or(KeyFault::Unreadable)? },
        kind => kind,
    };
    let kind = served(kind)?;
    let written = algorithm_of(kind).ok_or(KeyFault::Kind(kind))?;
    let is_readable = is_written_for(kind, algorithm, &written) && is_inner_of(kind, inner);
    let public_key = public_key_behind(more).filter(|_| is_readable).ok_or(KeyFault::Unreadable)?;
    Ok(ReadKey { key: wrap(&written, inner), kind, public_key })
}

/// RSA has NULL, which some tools omit; some add it to Ed25519 (RFC 8017 §A.1, RFC 8410 §3).
fn is_written_for(kind: KeyKind, algorithm: &[u8], written: &[u8]) -> bool {
    algorithm == written
        || match kind {
            KeyKind::Rsa { .. } => written.strip_suffix(NULL) == Some(algorithm),
            KeyKind::Ed25519 => algorithm.strip_suffix(NULL) == Some(written),
            _ => false,
        }
}

/// An Ed25519 key has 32 bytes (RFC 8410 §7); other kinds fail when they sign.
fn is_inner_of(kind: KeyKind, inner: &[u8]) -> bool {
    kind != KeyKind::Ed25519
        || element(inner, Tag::OctetString).is_some_and(|(rest, seed)| rest.is_empty() && seed.len() == 32)
}

/// `[0]` attributes, `[1]` public key, a BIT STRING (RFC 5958 §2). `ring` before 0.17 wrote its tag
/// inside `[1]`.
fn public_key_behind(more: &[u8]) -> Option<Option<Vec<u8>>> {
    let more = tagged(more, 0).map_or(more, |(rest, _)| rest);
    if more.is_empty() {
        return Some(None);
    }
    let (rest, content) = tagged(more, 1)?;
    let bits = match element(content, Tag::BitString) {
        Some(([], bits)) => bits,
        _ => content,
    };
    let (unused_bits, public_key) = bits.split_first()?;
    (rest.is_empty() && *unused_bits == 0).then(|| Some(public_key.to_vec()))
}

/// RSAPrivateKey (RFC 8017 §A.1.2).
fn pkcs1(der: &[u8]) -> Option<Result<ReadKey, KeyFault>> {
    let kind = KeyKind::Rsa { bits: rsa_bits(der)? };
    Some(wrapped(kind, der))
}

/// ECPrivateKey ::= SEQUENCE { 1, OCTET STRING, [0] parameters OPTIONAL, [1] publicKey OPTIONAL }
/// (RFC 5915 §3).
fn sec1(der: &[u8], outer: Option<&[u8]>) -> Option<Result<ReadKey, KeyFault>> {
    let (rest, content) = sequence(der)?;
    let (after_version, version) = element(content, Tag::Integer)?;
    let (after_scalar, scalar) = element(after_version, Tag::OctetString)?;
    if version != [1] || !rest.is_empty() {
        return None;
    }
    let kind = match tagged(after_scalar, 0).map(|(_, parameters)| parameters).or(outer) {
        Some(parameters) => KeyKind::of_curve(parameters),
        // The scalar's length suggests the curve; the signature proves it.
        None => match scalar.len() {
            32 => KeyKind::P256,
            48 => KeyKind::P384,
            66 => KeyKind::P521,
            _ => return Some(Err(KeyFault::Unreadable)),
        },
    };
    Some(wrapped(kind, der))
}

/// From PKCS#1 or SEC1.
fn wrapped(kind: KeyKind, der: &[u8]) -> Result<ReadKey, KeyFault> {
    let kind = served(kind)?;
    let algorithm = algorithm_of(kind).ok_or(KeyFault::Kind(kind))?;
    Ok(ReadKey { key: wrap(&algorithm, der), kind, public_key: None })
}

const NULL: &[u8] = &[0x05, 0x00];

/// Without its SEQUENCE header.
fn algorithm_of(kind: KeyKind) -> Option<Vec<u8>> {
    let oid = |oid: &[u8]| [tlv_prefix(0x06, oid.len()).as_slice(), oid].concat();
    let curve = match kind {
        KeyKind::Rsa { .. } => return Some([oid(OID_RSA).as_slice(), NULL].concat()),
        KeyKind::Ed25519 => return Some(oid(OID_ED25519)),
        KeyKind::P256 => OID_P256,
        KeyKind::P384 => OID_P384,
        KeyKind::P521 => OID_P521,
        _ => return None,
    };
    Some([oid(OID_EC), oid(curve)].concat())
}

/// Names what else the block may be.
fn other(der: &[u8]) -> KeyFault {
    let Some((_, content)) = sequence(der) else { return KeyFault::Unreadable };
    match sequence(content) {
        // EncryptedPrivateKeyInfo ::= SEQUENCE { SEQUENCE { algorithm OID, … }, OCTET STRING } (RFC
        // 5958 §3).
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

/// Served RSA key sizes.
pub(crate) const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// Modulus bits; `None` unless there are exactly nine numbers.
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

/// (rest, content) of a leading context-specific element.
fn tagged(der: &[u8], number: u32) -> Option<(&[u8], &[u8])> {
    let (rest, any) = Any::from_der(der).ok()?;
    (any.header.class() == Class::ContextSpecific && any.header.tag() == Tag(number))
        .then_some((rest, any.data))
}

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
