use rustls::CertificateError;
use rustls::pki_types::UnixTime;
use time::OffsetDateTime;

use super::certificate_list::{CertificateList, comparable_name};
use super::crl_scope::CrlScope;
use super::der_reader::is_shortest_integer;
use super::serial_table::SerialTable;
use super::stale_policy::StalePolicy;
use crate::signed::{SignatureVerdict, Signed};
use crate::tbs::Tbs;

/// An accepted CRL, to look certificates up: at most 21 bytes for each entry.
///
/// An entry counts only for certificates that the CRL's signer signed: two CAs of one name and
/// other keys are distinguished, and a CA that is renewed with its key goes on.
#[derive(Clone, Debug)]
pub struct CrlTable {
    /// In the normal form.
    issuer: Vec<u8>,
    /// With its SEQUENCE header.
    signer_spki: Vec<u8>,
    scope: CrlScope,
    next_update: Option<OffsetDateTime>,
    stale: StalePolicy,
    serials: SerialTable,
}

/// The certificate's place in its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CertificateRole {
    EndEntity,
    Ca,
}

impl CrlTable {
    /// Of the DER and the signer's key of an accepted [`Crl`](crate::Crl). Its signature is not
    /// verified again. Takes some 100 ms with 200,000 entries: on a blocking thread.
    ///
    /// `None` if it is not a CRL that would be accepted.
    pub fn of_accepted(der: &[u8], signer_spki: &[u8], stale: StalePolicy) -> Option<Self> {
        let list = CertificateList::read(der).ok()?;
        let mut is_whole = true;
        let serials = list.entries().map_while(|serial| serial.inspect_err(|_| is_whole = false).ok());
        let serials = serials.collect();
        is_whole.then(|| Self {
            issuer: list.normal_issuer(),
            signer_spki: signer_spki.to_vec(),
            scope: list.extensions.scope,
            next_update: list.next_update,
            stale,
            serials,
        })
    }

    /// How many serial numbers it has.
    pub fn entries(&self) -> usize {
        self.serials.len()
    }

    /// When it begins to refuse all of its issuer's certificates. `None`: never.
    pub fn refuses_all_after(&self) -> Option<OffsetDateTime> {
        self.next_update.filter(|_| self.stale == StalePolicy::Hard)
    }

    /// What the CRL says of a certificate, if its signer signed it.
    pub(crate) fn objection(
        &self,
        certificate: &SignedSerial<'_>,
        role: CertificateRole,
        now: UnixTime,
    ) -> Option<CertificateError> {
        let is_about = match self.scope {
            CrlScope::All => true,
            CrlScope::EndEntities => role == CertificateRole::EndEntity,
            CrlScope::Cas => role == CertificateRole::Ca,
        };
        if !is_about || self.issuer != certificate.issuer {
            return None;
        }
        if self.serials.contains(certificate.serial) {
            return Some(CertificateError::Revoked);
        }
        self.refuses_all_at(now).then_some(CertificateError::ExpiredRevocationList)
    }

    pub(crate) fn has_signed(&self, certificate: &SignedSerial<'_>) -> bool {
        certificate.signed.verify(&self.signer_spki) == SignatureVerdict::Valid
    }

    fn refuses_all_at(&self, now: UnixTime) -> bool {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        self.refuses_all_after().is_some_and(|end| end.unix_timestamp() < now)
    }
}

/// What a CRL finds a certificate by.
pub(crate) struct SignedSerial<'a> {
    /// In the normal form.
    issuer: Vec<u8>,
    /// In its shortest form, as in CRLs.
    serial: &'a [u8],
    signed: Signed<'a>,
}

impl<'a> SignedSerial<'a> {
    /// `None` if it is not a certificate in DER.
    pub(crate) fn read(certificate: &'a [u8]) -> Option<Self> {
        let tbs = Tbs::read(certificate)?;
        let serial = shortest(tbs.serial()?);
        Some(Self { issuer: comparable_name(tbs.issuer), serial, signed: Signed::split(certificate)? })
    }
}

/// webpki takes certificates whose serial number has more bytes than it needs.
fn shortest(mut integer: &[u8]) -> &[u8] {
    while integer.len() > 1 && !is_shortest_integer(integer) {
        integer = &integer[1..];
    }
    integer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_has_one_form() {
        let cases: [(&[u8], &[u8]); 6] = [
            (&[0, 0, 1], &[1]),
            (&[0, 0, 0x80], &[0, 0x80]),
            (&[0, 0], &[0]),
            (&[0xff, 0xff, 0x80], &[0x80]),
            (&[0xff], &[0xff]),
            (&[1, 0, 0], &[1, 0, 0]),
        ];
        for (given, expected) in cases {
            assert_eq!(shortest(given), expected);
            assert!(is_shortest_integer(expected), "{expected:02x?}");
        }
    }
}
