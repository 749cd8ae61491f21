//! Names as RFC 5280 §7.1 compares them.
//!
//! Two names are equal if their attributes are, whatever type of string holds a value, in upper or
//! lower case, with one blank or several. OpenSSL compares so too, by the same steps: the letters
//! of ASCII in lower case, blanks at the ends left out, several blanks taken as one. webpki, Go
//! and GnuTLS compare bytes.

use x509_parser::asn1_rs::{Any, Class, FromDer as _, Tag};

use crate::der::encode;
use crate::der::{element, sequence};

/// The content of a Name in a form in which equal names are equal bytes; `None` if it is no Name.
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
        // DER orders a set by the bytes of its elements, which have changed.
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

/// The characters of a value; `None` if it is no string, or none of its type.
fn text(value: &Any<'_>) -> Option<String> {
    if value.header.class() != Class::Universal {
        return None;
    }
    match value.header.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::VisibleString => {
            String::from_utf8(value.data.to_vec()).ok()
        }
        // As OpenSSL, which takes it for Latin-1.
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
