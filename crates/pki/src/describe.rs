use std::collections::BTreeSet;

use time::OffsetDateTime;

use crate::certificate::Certificate;
use crate::client_certificate::{shown_name, shown_serial};
use crate::der::sequence;
use crate::display::{SUBJECT_CHARS_MAX, escape};
use crate::fingerprint;
use crate::public_key::KeyKind;
use crate::tbs::Tbs;

/// A certificate for display, escaped and bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The subject.
    pub subject: String,
    /// The issuer.
    pub issuer: String,
    /// The serial number: lower-case hexadecimal digits, two for each byte.
    pub serial: String,
    /// notBefore.
    pub not_before: OffsetDateTime,
    /// notAfter.
    pub not_after: OffsetDateTime,
    /// DNS names of subjectAltName, at most 50, without duplicates.
    pub names: Vec<String>,
    /// The public key's kind.
    pub key_kind: KeyKind,
    /// SHA-256 of the SubjectPublicKeyInfo, 64 lower-case hexadecimal digits: certificates of one
    /// key have the same.
    pub key_fingerprint: String,
    /// Its own key signed it.
    pub self_signed: bool,
    /// CA:TRUE.
    pub is_ca: bool,
    /// 1, 2 or 3.
    pub version: u32,
}

/// A distinguished name (DER), escaped and bounded; `None` if it is none.
pub fn describe_name(der: &[u8]) -> Option<Box<str>> {
    sequence(der).map(|(_, content)| shown_name(content))
}

const NAMES_MAX: usize = 50;

/// `None` if it is not an X.509 certificate.
pub fn describe(der: &[u8]) -> Option<CertificateFacts> {
    Certificate::read(der).ok().as_ref().map(CertificateFacts::of)
}

impl CertificateFacts {
    pub(crate) fn of(certificate: &Certificate) -> Self {
        let names: BTreeSet<&String> = certificate.dns_names.iter().collect();
        Self {
            names: names.into_iter().take(NAMES_MAX).map(|name| escape(name, SUBJECT_CHARS_MAX)).collect(),
            self_signed: certificate.is_self_signed(),
            subject: certificate.subject.clone(),
            issuer: certificate.issuer.clone(),
            // A certificate has one.
            serial: Tbs::read(&certificate.der).as_ref().and_then(shown_serial).unwrap_or_default(),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            key_kind: certificate.key_kind,
            key_fingerprint: fingerprint(&certificate.spki),
            is_ca: certificate.is_ca,
            version: certificate.version,
        }
    }
}
