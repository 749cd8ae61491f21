use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::certificate::Validity;
use x509_parser::prelude::FromDer as _;

use crate::client_certificate::{NAME_SHOWN_BYTES_MAX, shown_name, shown_serial};
use crate::display::{SUBJECT_CHARS_MAX, cut, escape};
use crate::tbs::Tbs;
use crate::{ClientTrust, DeviceId, DeviceIdentity, IssuerPath, fingerprint};

/// A verified device's certificate: for display, escaped and bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceCertificate {
    /// Identifies it.
    pub id: DeviceId,
    /// The device's name: what `proxyIdentity` tells brokers, else the subject; at most 160 bytes.
    pub name: Box<str>,
    /// The issuer; at most 160 bytes.
    pub issuer: Box<str>,
    /// Lower-case hexadecimal digits, two for each byte; at most 20 bytes.
    pub serial: Box<str>,
    /// SHA-256 of the DER, 64 lower-case hexadecimal digits.
    pub fingerprint: Box<str>,
    /// Start of validity.
    pub not_before: OffsetDateTime,
    /// End of validity.
    pub not_after: OffsetDateTime,
    /// How it leads to a client CA.
    pub path: Arc<IssuerPath>,
}

impl DeviceCertificate {
    /// Of a chain as the device sent it, which a verifier of `trust` has accepted. Verifies whose
    /// issuers the certificates beside the first are; of client CAs only where several issuers have
    /// one name.
    ///
    /// `None` if the chain does not lead to `trust`.
    pub fn read(chain: &[CertificateDer<'_>], trust: &ClientTrust, identity: DeviceIdentity) -> Option<Self> {
        let (end_entity, intermediates) = chain.split_first()?;
        let tbs = Tbs::read(end_entity)?;
        let (_, validity) = Validity::from_der(tbs.validity).ok()?;
        Some(Self {
            id: DeviceId::of(&tbs)?,
            name: name(end_entity, &tbs, identity),
            issuer: shown_name(tbs.issuer),
            serial: shown_serial(&tbs)?.into(),
            fingerprint: fingerprint(end_entity).into(),
            not_before: validity.not_before.to_datetime(),
            not_after: validity.not_after.to_datetime(),
            path: Arc::new(IssuerPath::find(end_entity, intermediates, trust)?),
        })
    }
}

fn name(end_entity: &CertificateDer<'_>, tbs: &Tbs<'_>, identity: DeviceIdentity) -> Box<str> {
    match identity.of(end_entity) {
        Ok(name) => cut(escape(&name, SUBJECT_CHARS_MAX), NAME_SHOWN_BYTES_MAX).into(),
        Err(_) => shown_name(tbs.subject),
    }
}
