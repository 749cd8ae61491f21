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

/// The OID of basicConstraints.
pub(crate) const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];

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

    /// The content of the serial number.
    pub(crate) fn serial(&self) -> Option<&'a [u8]> {
        element(self.after_version()?, Tag::Integer).map(|(_, serial)| serial)
    }

    /// The version's field, empty for version 1, and the algorithm's.
    pub(crate) fn version_and_algorithm(&self) -> Option<(&'a [u8], &'a [u8])> {
        let after_version = self.after_version()?;
        let (algorithm, _) = element(after_version, Tag::Integer)?;
        let version_bytes = self.before_issuer.len() - after_version.len();
        Some((&self.before_issuer[..version_bytes], algorithm))
    }

    fn after_version(&self) -> Option<&'a [u8]> {
        let fields = self.before_issuer;
        if fields.first() == Some(&0xa0) { Some(Any::from_der(fields).ok()?.0) } else { Some(fields) }
    }

    /// The value of the first extension of this type; an error if the extensions cannot be read.
    pub(crate) fn extension(&self, wanted: &[u8]) -> Result<Option<&'a [u8]>, UnreadableExtensions> {
        for extension in self.extensions() {
            let Extension { oid, value, .. } = extension?;
            if oid == wanted {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// In order; ends at the first one that cannot be read.
    pub(crate) fn extensions(&self) -> ExtensionList<'a> {
        let mut fields = self.after_key;
        while let Some(&first) = fields.first() {
            let Ok((rest, field)) = Any::from_der(fields) else { return ExtensionList(None) };
            if first == EXTENSIONS {
                return ExtensionList(sequence(field.data).map(|(_, extensions)| extensions));
            }
            fields = rest;
        }
        ExtensionList(Some(&[]))
    }
}

/// RFC 5280 §4.1.2.9.
pub(crate) struct Extension<'a> {
    pub(crate) oid: &'a [u8],
    pub(crate) is_critical: bool,
    pub(crate) value: &'a [u8],
}

/// What follows the subject's key is not as RFC 5280 says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnreadableExtensions;

/// What is left of the extensions; `None` if it cannot be read.
pub(crate) struct ExtensionList<'a>(Option<&'a [u8]>);

impl<'a> Iterator for ExtensionList<'a> {
    type Item = Result<Extension<'a>, UnreadableExtensions>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.0 {
            Some([]) => None,
            left => {
                let read = left.and_then(read_extension);
                // Nothing follows an error.
                self.0 = Some(read.as_ref().map_or(&[], |(rest, _)| rest));
                Some(read.map(|(_, extension)| extension).ok_or(UnreadableExtensions))
            }
        }
    }
}

/// (rest, the first).
fn read_extension(extensions: &[u8]) -> Option<(&[u8], Extension<'_>)> {
    let (rest, extension) = sequence(extensions)?;
    let (after_oid, oid) = element(extension, Tag::Oid)?;
    let critical = element(after_oid, Tag::Boolean);
    let (after_critical, is_critical) =
        critical.map_or((after_oid, false), |(rest, value)| (rest, value != [0]));
    let (_, value) = element(after_critical, Tag::OctetString)?;
    Some((rest, Extension { oid, is_critical, value }))
}
