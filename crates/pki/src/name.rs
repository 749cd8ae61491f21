//! Distinguished names (RFC 5280 §4.1.2.4).
//!
//! Decoded as OpenSSL does, which cannot read a certificate if one string of subject or issuer
//! fails.

use thiserror::Error;
use x509_parser::asn1_rs::{Any, Class, Tag};
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::display::{SUBJECT_CHARS_MAX, escape};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Undecodable {
    #[error("a UTF8String that is not UTF-8")]
    Utf8,
    #[error("a BMPString that is not UCS-2")]
    Bmp,
    #[error("a UniversalString that is not UCS-4")]
    Universal,
    #[error("a value of a type that names cannot have")]
    Type,
}

pub(crate) fn undecodable(name: &X509Name<'_>) -> Option<Undecodable> {
    name.iter_attributes().find_map(|attribute| decode(attribute.attr_value()).err())
}

/// `None` for a non-string that OpenSSL accepts.
pub(crate) fn decode(value: &Any<'_>) -> Result<Option<String>, Undecodable> {
    if value.header.class() != Class::Universal {
        return Err(Undecodable::Type);
    }
    match value.tag() {
        // OpenSSL reads constructed strings; DER forbids them (X.690 §10.2).
        _ if value.header.is_constructed() => match value.tag() {
            Tag::Sequence => Ok(None),
            tag if is_string(tag) => Ok(None),
            _ => Err(Undecodable::Type),
        },
        Tag::Utf8String => {
            str::from_utf8(value.data).map(|text| Some(text.to_owned())).map_err(|_| Undecodable::Utf8)
        }
        Tag::BmpString => units::<2>(value.data, Undecodable::Bmp).map(Some),
        Tag::UniversalString => units::<4>(value.data, Undecodable::Universal).map(Some),
        // One character per byte, even if the type forbids it.
        tag if is_string(tag) => Ok(Some(value.data.iter().map(|byte| char::from(*byte)).collect())),
        Tag::BitString if value.data.first().is_some_and(|unused| *unused < 8) => Ok(None),
        Tag(7..=9 | 11 | 13..=15 | 29) => Ok(None),
        _ => Err(Undecodable::Type),
    }
}

fn is_string(tag: Tag) -> bool {
    matches!(
        tag,
        Tag::Utf8String
            | Tag::BmpString
            | Tag::UniversalString
            | Tag::NumericString
            | Tag::PrintableString
            | Tag::T61String
            | Tag::Ia5String
    )
}

/// Fixed-width characters; surrogates are faults.
fn units<const BYTES: usize>(data: &[u8], fault: Undecodable) -> Result<String, Undecodable> {
    let (units, rest) = data.as_chunks::<BYTES>();
    if !rest.is_empty() {
        return Err(fault);
    }
    let number = |unit: &[u8; BYTES]| unit.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
    units.iter().map(|unit| char::from_u32(number(unit)).ok_or(fault)).collect()
}

/// For display, escaped and bounded.
pub(crate) fn shown(name: &X509Name<'_>) -> String {
    // A hostile name must not be formatted in full.
    if name.as_raw().len() > NAME_BYTES_SHOWN_MAX {
        return TOO_LONG.to_owned();
    }
    let rdns = name.iter().map(|rdn| rdn.iter().map(shown_attribute).collect::<Vec<_>>().join(" + "));
    match rdns.collect::<Vec<_>>().join(", ") {
        text if text.is_empty() => "(an empty name)".to_owned(),
        text => escape(&text, SUBJECT_CHARS_MAX),
    }
}

pub(crate) const NAME_BYTES_SHOWN_MAX: usize = 4096;
pub(crate) const TOO_LONG: &str = "(a very long name)";

fn shown_attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let kind = attribute.attr_type();
    let kind = oid2abbrev(kind, oid_registry()).map_or_else(|_| kind.to_id_string(), str::to_owned);
    let value = match decode(attribute.attr_value()) {
        Ok(Some(text)) => text,
        Ok(None) => attribute.as_slice().iter().map(|byte| format!("{byte:02X}")).collect(),
        Err(_) => "(cannot be decoded)".to_owned(),
    };
    format!("{kind}={value}")
}

/// The last (most specific) text, truncated.
pub(crate) fn common_name(name: &X509Name<'_>) -> Option<String> {
    let names = name.iter_common_name();
    let text = names.filter_map(|attribute| decode(attribute.attr_value()).ok().flatten()).last()?;
    Some(text.chars().take(COMMON_NAME_CHARS_MAX).collect())
}

/// X.520 allows 64; a DNS name has 253.
const COMMON_NAME_CHARS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use x509_parser::prelude::FromDer as _;

    use super::*;

    fn decoded(tag: u8, content: &[u8]) -> Result<Option<String>, Undecodable> {
        let length = u8::try_from(content.len()).unwrap();
        let der = [&[tag, length], content].concat();
        decode(&Any::from_der(&der).unwrap().1)
    }

    proptest! {
        #[test]
        fn what_is_text_comes_out_as_it_went_in(text in "\\PC{0,20}") {
            prop_assert_eq!(decoded(12, text.as_bytes()), Ok(Some(text.clone())));
            let wide: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
            prop_assert_eq!(decoded(28, &wide), Ok(Some(text.clone())));
            let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
            let expected = match text.chars().all(|c| c.len_utf16() == 1) {
                true => Ok(Some(text)),
                false => Err(Undecodable::Bmp),
            };
            prop_assert_eq!(decoded(30, &units), expected);
        }

        #[test]
        fn any_bytes_are_text_or_a_fault(tag in 0_u8..31, content in prop::collection::vec(any::<u8>(), 0..100)) {
            let text = decoded(tag, &content);
            match tag {
                12 => prop_assert_eq!(text.ok(), String::from_utf8(content).ok().map(Some)),
                18..=20 | 22 => {
                    let text = text.unwrap().unwrap();
                    prop_assert!(text.chars().map(u32::from).eq(content.iter().map(|byte| u32::from(*byte))));
                }
                28 | 30 if text.is_ok() => {
                    let width = if tag == 28 { 4 } else { 2 };
                    prop_assert_eq!(text.unwrap().unwrap().chars().count(), content.len() / width);
                }
                28 | 30 => {}
                _ => prop_assert!(!matches!(text, Ok(Some(_)))),
            }
        }
    }
}
