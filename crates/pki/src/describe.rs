use std::collections::BTreeSet;

use time::OffsetDateTime;

use crate::certificate::Certificate;
use crate::display::{SUBJECT_CHARS_MAX, escape};
use crate::public_key::KeyKind;

/// What a person wants to see of a certificate. All texts are escaped and bounded: they can be printed as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The subject.
    pub subject: String,
    /// The issuer's name.
    pub issuer: String,
    /// notBefore.
    pub not_before: OffsetDateTime,
    /// notAfter.
    pub not_after: OffsetDateTime,
    /// The DNS names of subjectAltName, at most 50 of them, without repetition.
    pub names: Vec<String>,
    /// What kind of public key it has.
    pub key_kind: KeyKind,
    /// Whether its own key signed it.
    pub self_signed: bool,
    /// Whether it says that it is a CA.
    pub is_ca: bool,
    /// 1, 2 or 3.
    pub version: u32,
}

const NAMES_MAX: usize = 50;

/// Reads what a person wants to see; `None` if the DER is no X.509 certificate.
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
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            key_kind: certificate.key_kind,
            is_ca: certificate.is_ca,
            version: certificate.version,
        }
    }
}
