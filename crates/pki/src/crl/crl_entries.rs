use super::crl_extensions::check_entry_extensions;
use super::crl_fault::CrlFault;
use super::der_reader::{DerReader, GENERALIZED_TIME, INTEGER, SEQUENCE, UTC_TIME, is_shortest_integer};

/// The serial numbers of a CRL (contents of INTEGERs in their shortest form), in its order. Ends
/// with the first error. Nothing is allocated for an entry.
#[derive(Clone, Debug)]
pub(super) struct CrlEntries<'a> {
    left: DerReader<'a>,
    /// Version 1 has no extensions.
    may_extend: bool,
}

impl<'a> CrlEntries<'a> {
    /// Of the content of `revokedCertificates`.
    pub(super) fn new(entries: &'a [u8], may_extend: bool) -> Self {
        Self { left: DerReader::new(entries), may_extend }
    }

    /// CertificateSerialNumber, Time, optional Extensions. When it was revoked is not used, so its
    /// form is not checked.
    fn take(&mut self) -> Result<&'a [u8], CrlFault> {
        let mut entry = DerReader::new(self.left.take(SEQUENCE).ok_or(UNREADABLE)?);
        let serial = entry.take(INTEGER).filter(|serial| is_shortest_integer(serial)).ok_or(UNREADABLE)?;
        entry.take(UTC_TIME).or_else(|| entry.take(GENERALIZED_TIME)).ok_or(UNREADABLE)?;
        if !entry.is_empty() {
            let extensions = entry.take_last(SEQUENCE).filter(|_| self.may_extend).ok_or(UNREADABLE)?;
            check_entry_extensions(extensions)?;
        }
        Ok(serial)
    }
}

const UNREADABLE: CrlFault = CrlFault::Unreadable("an entry");

impl<'a> Iterator for CrlEntries<'a> {
    type Item = Result<&'a [u8], CrlFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left.is_empty() {
            return None;
        }
        let taken = self.take();
        if taken.is_err() {
            self.left = DerReader::new(&[]);
        }
        Some(taken)
    }
}
