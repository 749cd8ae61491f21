//! Names and key of a certificate (RFC 5280 §4.1), read cheaply: strangers send them.

use x509_parser::asn1_rs::{Any, FromDer as _, Tag};

use crate::der::{element, sequence, tlv_prefix};
use crate::signed::Signed;

/// Slices of a TBSCertificate, in order.
pub(crate) struct Tbs<'a> {
    /// Version, serial number, algorithm.
    pub(crate) before_issuer: &'a [u8],
    /// The content of the name.
    pub(crate) issuer: &'a [u8],
    pub(crate) validity: &'a [u8],
    /// The content of the name.
    pub(crate) subject: &'a [u8],
    /// SubjectPublicKeyInfo with its header.
    pub(crate) spki: &'a [u8],
    /// Unique identifiers and extensions.
    pub(crate) after_key: &'a [u8],
}

/// `[3]`, constructed: extensions.
pub(crate) const EXTENSIONS: u8 = 0xa3;

impl<'a> Tbs<'a> {
    /// `None` if it is not a certificate in DER. The outer header is not signed: it has one form.
    pub(crate) fn read(der: &'a [u8]) -> Option<Self> {
        let (_, outer) = sequence(der)?;
        if !der.starts_with(&tlv_prefix(0x30, outer.len())) {
            return None;
        }
        let (_, tbs) = sequence(Signed::split(der)?.content)?;
        let after_version = if tbs.first() == Some(&0xa0) { Any::from_der(tbs).ok()?.0 } else { tbs };
        let (after_serial, _) = element(after_version, Tag::Integer)?;
        let (after_algorithm, _) = sequence(after_serial)?;
        let (after_issuer, issuer) = sequence(after_algorithm)?;
        let (after_validity, _) = sequence(after_issuer)?;
        let (after_subject, subject) = sequence(after_validity)?;
        let (after_key, _) = sequence(after_subject)?;
        let before = |whole: &'a [u8], rest: &[u8]| &whole[..whole.len() - rest.len()];
        Some(Self {
            before_issuer: before(tbs, after_algorithm),
            issuer,
            validity: before(after_issuer, after_validity),
            subject,
            spki: before(after_subject, after_key),
            after_key,
        })
    }

    /// The value of the first extension of this type; an error if the extensions cannot be read.
    pub(crate) fn extension(&self, wanted: &[u8]) -> Result<Option<&'a [u8]>, UnreadableExtensions> {
        let mut fields = self.after_key;
        while let Some(&first) = fields.first() {
            let (rest, field) = Any::from_der(fields).map_err(|_| UnreadableExtensions)?;
            if first == EXTENSIONS {
                let (_, extensions) = sequence(field.data).ok_or(UnreadableExtensions)?;
                return extension_of(extensions, wanted);
            }
            fields = rest;
        }
        Ok(None)
    }
}

/// What follows the subject's key is not as RFC 5280 says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnreadableExtensions;

fn extension_of<'a>(
    mut extensions: &'a [u8],
    wanted: &[u8],
) -> Result<Option<&'a [u8]>, UnreadableExtensions> {
    while !extensions.is_empty() {
        let (rest, extension) = sequence(extensions).ok_or(UnreadableExtensions)?;
        let (after_oid, oid) = element(extension, Tag::Oid).ok_or(UnreadableExtensions)?;
        if oid == wanted {
            let after_critical = element(after_oid, Tag::Boolean).map_or(after_oid, |(rest, _)| rest);
            let (_, value) = element(after_critical, Tag::OctetString).ok_or(UnreadableExtensions)?;
            return Ok(Some(value));
        }
        extensions = rest;
    }
    Ok(None)
}
