//! Reads and writes DER.

use x509_parser::asn1_rs::{Any, Class, FromDer as _, Tag};

pub(crate) fn encode(tag: Tag, parts: &[Vec<u8>]) -> Vec<u8> {
    let constructed = if matches!(tag, Tag::Sequence | Tag::Set) { 0x20 } else { 0 };
    wrap(tag.0 as u8 | constructed, &parts.concat())
}

pub(crate) fn wrap(identifier: u8, content: &[u8]) -> Vec<u8> {
    [tlv_prefix(identifier, content.len()), content.to_vec()].concat()
}

/// Tag and DER length (X.690 §10.1).
pub(crate) fn tlv_prefix(tag: u8, len: usize) -> Vec<u8> {
    let bytes = len.to_be_bytes();
    let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    match significant {
        [] => vec![tag, 0],
        [short] if *short < 0x80 => vec![tag, *short],
        // At most eight length bytes.
        long => [&[tag, 0x80 | long.len() as u8], long].concat(),
    }
}

/// (rest, content) of a leading SEQUENCE.
pub(crate) fn sequence(der: &[u8]) -> Option<(&[u8], &[u8])> {
    element(der, Tag::Sequence)
}

/// (rest, content) of a leading element with a universal tag.
pub(crate) fn element(der: &[u8], tag: Tag) -> Option<(&[u8], &[u8])> {
    let (rest, any) = Any::from_der(der).ok()?;
    (any.header.class() == Class::Universal && any.header.tag() == tag).then_some((rest, any.data))
}
