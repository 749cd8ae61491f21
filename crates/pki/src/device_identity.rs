use std::fmt;

use thiserror::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::AttributeTypeAndValue;

use crate::fingerprint;
use crate::name::decode;

/// What the broker gets as a device's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeviceIdentity {
    /// The subject's only common name.
    #[default]
    Cn,
    /// The whole subject (RFC 4514).
    Dn,
    /// subjectAltName's first DNS name, email address or URI.
    San,
    /// SHA-256 of the certificate, lower-case hex.
    Fingerprint,
}

/// Why a certificate gives no device name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IdentityRefused {
    /// No such name.
    #[error("the certificate has no such name")]
    Absent,
    /// Several; the broker could take another.
    #[error("the certificate has more than one")]
    Ambiguous,
    /// A control character, or not text.
    #[error("the name holds a control character, or is no text")]
    NotText,
    /// Longer than 1024 bytes.
    #[error("the name is longer than {IDENTITY_BYTES_MAX} bytes")]
    TooLong,
    /// The certificate is unreadable.
    #[error("the certificate cannot be read")]
    Unreadable,
}

/// Brokers handle longer user names badly.
const IDENTITY_BYTES_MAX: usize = 1024;

impl DeviceIdentity {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Cn, Self::Dn, Self::San, Self::Fingerprint];

    /// Parses the wire name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cn => "cn",
            Self::Dn => "dn",
            Self::San => "san",
            Self::Fingerprint => "fingerprint",
        }
    }

    /// The name in a certificate (DER).
    ///
    /// # Errors
    /// A device without a certain name must not reach its broker.
    pub fn of(self, certificate: &[u8]) -> Result<String, IdentityRefused> {
        let (_, x509) = X509Certificate::from_der(certificate).map_err(|_| IdentityRefused::Unreadable)?;
        let text = match self {
            Self::Cn => common_name(&x509)?,
            Self::Dn => distinguished_name(&x509)?,
            Self::San => alternative_name(&x509)?,
            Self::Fingerprint => fingerprint(certificate),
        };
        if text.is_empty() {
            return Err(IdentityRefused::Absent);
        }
        if text.len() > IDENTITY_BYTES_MAX {
            return Err(IdentityRefused::TooLong);
        }
        if text.chars().any(|c| c.is_control() || c == '\u{feff}') {
            return Err(IdentityRefused::NotText);
        }
        Ok(text)
    }
}

impl fmt::Display for DeviceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn common_name(x509: &X509Certificate<'_>) -> Result<String, IdentityRefused> {
    let mut names = x509.subject().iter_common_name();
    let name = names.next().ok_or(IdentityRefused::Absent)?;
    if names.next().is_some() {
        return Err(IdentityRefused::Ambiguous);
    }
    text(name)
}

/// UTF-8 where the type holds bytes, else as OpenSSL decodes it.
fn text(attribute: &AttributeTypeAndValue<'_>) -> Result<String, IdentityRefused> {
    match attribute.as_str() {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => decode(attribute.attr_value()).ok().flatten().ok_or(IdentityRefused::NotText),
    }
}

/// RFC 4514 §2: the last RDN first, separators escaped.
fn distinguished_name(x509: &X509Certificate<'_>) -> Result<String, IdentityRefused> {
    let mut rdns = Vec::new();
    for rdn in x509.subject().iter() {
        let mut attributes = Vec::new();
        for attribute in rdn.iter() {
            let kind = oid2abbrev(attribute.attr_type(), oid_registry())
                .map_or_else(|_| attribute.attr_type().to_id_string(), str::to_owned);
            let value = text(attribute)?;
            attributes.push(format!("{kind}={}", escaped(&value)));
        }
        rdns.push(attributes.join("+"));
    }
    rdns.reverse();
    Ok(rdns.join(","))
}

/// RFC 4514 §2.4.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        let special = matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=');
        if special || (c == ' ' && (at == 0 || at == last)) || (c == '#' && at == 0) {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

fn alternative_name(x509: &X509Certificate<'_>) -> Result<String, IdentityRefused> {
    let names = x509.subject_alternative_name().map_err(|_| IdentityRefused::Unreadable)?;
    let names = names.ok_or(IdentityRefused::Absent)?;
    let text = names.value.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => Some(*text),
        _ => None,
    });
    text.map(str::to_owned).ok_or(IdentityRefused::Absent)
}
