//! Names as RFC 5280 §7.1 compares them.
//!
//! As in OpenSSL, string type, ASCII case and extra blanks do not matter. webpki, Go and GnuTLS
//! compare bytes.

use x509_parser::asn1_rs::{Any, Class, FromDer as _, Tag};

use crate::der::encode;
use crate::der::{element, sequence};

/// Equal names give equal bytes; `None` if it is not a Name.
pub(crate) fn normal_name(mut content: &[u8]) -> Option<Vec<u8>> {
    let mut normal = Vec::with_capacity(content.len());
    while !content.is_empty() {
        let (rest, mut set) = element(content, Tag::Set)?;
        let mut attributes = Vec::new();
        while !set.is_empty() {
            let (after, attribute) = sequence(set)?;
            attributes.push(normal_attribute(attribute)?);
            set = after;
        }
        // DER orders a SET by its elements' bytes, which changed.
        attributes.sort();
        normal.extend(encode(Tag::Set, &attributes));
        content = rest;
    }
    Some(normal)
}

fn normal_attribute(attribute: &[u8]) -> Option<Vec<u8>> {
    let (value, _) = element(attribute, Tag::Oid)?;
    let oid = &attribute[..attribute.len() - value.len()];
    let (rest, parsed) = Any::from_der(value).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let text = text(&parsed).map(|text| encode(Tag::Utf8String, &[folded(&text).into_bytes()]));
    Some(encode(Tag::Sequence, &[oid.to_vec(), text.unwrap_or_else(|| value.to_vec())]))
}

fn text(value: &Any<'_>) -> Option<String> {
    if value.header.class() != Class::Universal {
        return None;
    }
    match value.header.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::VisibleString => {
            String::from_utf8(value.data.to_vec()).ok()
        }
        // As Latin-1, like OpenSSL.
        Tag::T61String => Some(value.data.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString => {
            let (units, rest) = value.data.as_chunks::<2>();
            let characters = units.iter().map(|unit| char::from_u32(u16::from_be_bytes(*unit).into()));
            rest.is_empty().then(|| characters.collect())?
        }
        Tag::UniversalString => {
            let (units, rest) = value.data.as_chunks::<4>();
            let characters = units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit)));
            rest.is_empty().then(|| characters.collect())?
        }
        _ => None,
    }
}

fn folded(text: &str) -> String {
    let words: Vec<&str> = text.split(is_blank).filter(|word| !word.is_empty()).collect();
    words.join(" ").to_ascii_lowercase()
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t'..='\r')
}
