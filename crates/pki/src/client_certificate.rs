//! The certificate of a client whose handshake failed.
//!
//! A stranger controls every byte: names are escaped and cut, extensions are not read, and of the
//! intermediates only the names of the first few. Called on failures only.

use std::collections::HashSet;

use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, DistinguishedName, Error};
use time::OffsetDateTime;
use x509_parser::certificate::Validity;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

use crate::client_refusal::ClientRefusal;
use crate::der::{sequence, wrap};
use crate::display::cut;
use crate::fingerprint;
use crate::name::{NAME_BYTES_SHOWN_MAX, TOO_LONG, shown};
use crate::normal_name::normal_name;
use crate::tbs::Tbs;

/// What identifies a client's certificate: for display, escaped and bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// SHA-256 of the DER, 64 lower-case hexadecimal digits.
    pub fingerprint: Box<str>,
    /// `None` if it is not a certificate in DER.
    pub facts: Option<ClientCertificateFacts>,
    /// If its CA is the reason of the refusal, and known by name.
    pub needed_ca: Option<NeededCa>,
}

/// At most 160 bytes for each name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificateFacts {
    /// The subject.
    pub subject: Box<str>,
    /// The issuer.
    pub issuer: Box<str>,
    /// Lower-case hexadecimal digits, two for each byte, as OpenSSL's upper-case ones; at most 20
    /// bytes.
    pub serial: Box<str>,
    /// notAfter.
    pub not_after: OffsetDateTime,
}

/// The CA that would have to be a client CA: the issuer of the last certificate on the path that
/// the client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeededCa {
    /// At most 160 bytes.
    pub name: Box<str>,
    /// Whether a client CA has this name: then its key is another.
    pub is_name_known: bool,
}

/// The names of client CAs as they are compared. Made once: for 100 CAs it takes 70 µs.
#[derive(Debug)]
pub struct ClientCaNames(HashSet<Vec<u8>>);

/// Bounds the memory of a refusal, which an escape can make ten times as long as the name.
pub(crate) const NAME_SHOWN_BYTES_MAX: usize = 160;
/// RFC 5280 §4.1.2.2.
const SERIAL_BYTES_MAX: usize = 20;
/// webpki takes no longer path.
const PATH_MAX: usize = 8;
/// The names of further ones are not read.
const INTERMEDIATES_READ_MAX: usize = 16;

impl ClientCertificate {
    /// Of the end entity (DER).
    pub fn of(end_entity: &[u8]) -> Self {
        let facts = Tbs::read(end_entity).as_ref().and_then(ClientCertificateFacts::of);
        Self { fingerprint: fingerprint(end_entity).into(), facts, needed_ca: None }
    }

    /// As refused with `error` by a verifier with these client CAs.
    pub fn of_refused(
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        client_cas: &ClientCaNames,
        error: &Error,
    ) -> Self {
        let needed_ca = match error {
            Error::InvalidCertificate(error) => needed_ca(end_entity, intermediates, client_cas, error),
            _ => None,
        };
        Self { needed_ca, ..Self::of(end_entity) }
    }
}

impl ClientCaNames {
    /// As a verifier hints them, with their SEQUENCE headers.
    pub fn of(names: &[DistinguishedName]) -> Self {
        let contents = names.iter().filter_map(|name| Some(sequence(name.as_ref())?.1));
        Self(contents.map(normal).collect())
    }
}

impl ClientCertificateFacts {
    fn of(tbs: &Tbs<'_>) -> Option<Self> {
        let (_, validity) = Validity::from_der(tbs.validity).ok()?;
        Some(Self {
            subject: shown_name(tbs.subject),
            issuer: shown_name(tbs.issuer),
            serial: shown_serial(tbs)?.into(),
            not_after: validity.not_after.to_datetime(),
        })
    }
}

/// `content`: without the SEQUENCE header.
pub(crate) fn shown_name(content: &[u8]) -> Box<str> {
    if content.len() > NAME_BYTES_SHOWN_MAX {
        return TOO_LONG.into();
    }
    let der = wrap(0x30, content);
    let text = X509Name::from_der(&der).map(|(_, name)| shown(&name));
    text.map_or_else(|_| "(cannot be decoded)".into(), |text| cut(text, NAME_SHOWN_BYTES_MAX).into())
}

/// Lower-case hexadecimal digits, two for each byte; at most 20 bytes.
pub(crate) fn shown_serial(tbs: &Tbs<'_>) -> Option<String> {
    let serial = tbs.serial()?;
    // A positive number may begin with a zero byte (X.690 §8.3); webpki takes several.
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    let significant = &serial[zeros.min(serial.len().saturating_sub(1))..];
    let digits = significant.iter().take(SERIAL_BYTES_MAX).map(|byte| format!("{byte:02x}"));
    let dots = if significant.len() > SERIAL_BYTES_MAX { "..." } else { "" };
    Some(digits.collect::<String>() + dots)
}

fn needed_ca(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    client_cas: &ClientCaNames,
    error: &CertificateError,
) -> Option<NeededCa> {
    let refusal = ClientRefusal::of(error);
    if !matches!(refusal, ClientRefusal::UnknownIssuer | ClientRefusal::BadSignature) {
        return None;
    }
    let end_entity = Tbs::read(end_entity)?;
    let mut issuer = end_entity.issuer;
    let mut normal_issuer = normal(issuer);
    // A self-signed certificate needs no CA, but to be issued by one.
    if normal_issuer == normal(end_entity.subject) {
        return None;
    }
    let sent: Vec<_> = intermediates.iter().take(INTERMEDIATES_READ_MAX).collect();
    let sent: Vec<_> = sent.into_iter().filter_map(|der| Tbs::read(der)).collect();
    let names: Vec<_> =
        sent.iter().map(|tbs| (normal(tbs.subject), tbs.issuer, normal(tbs.issuer))).collect();
    let mut length = 0;
    while length < PATH_MAX
        && let Some((_, next, normal_next)) =
            names.iter().find(|(subject, _, above)| *subject == normal_issuer && above != subject)
    {
        (issuer, normal_issuer) = (next, normal_next.clone());
        length += 1;
    }
    let is_name_known = client_cas.0.contains(&normal_issuer);
    let is_certain = match refusal {
        ClientRefusal::UnknownIssuer => !is_name_known,
        // With intermediates the broken signature may be one of theirs.
        _ => is_name_known && length == 0,
    };
    is_certain.then(|| NeededCa { name: shown_name(issuer), is_name_known })
}

/// Longer names are compared byte by byte.
fn normal(content: &[u8]) -> Vec<u8> {
    let short = Some(content).filter(|content| content.len() <= NAME_BYTES_SHOWN_MAX);
    short.and_then(normal_name).unwrap_or_else(|| content.to_vec())
}
