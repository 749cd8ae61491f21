//! issuingDistributionPoint (RFC 5280 §5.2.5).
//!
//! The name of the distribution point is not compared: a serial number is unique to its issuer, so
//! an entry counts wherever it is listed.

use super::crl_fault::CrlFault;
use super::der_reader::{DerReader, SEQUENCE, boolean};

/// The certificates that a CRL is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum CrlScope {
    #[default]
    All,
    EndEntities,
    Cas,
}

const DISTRIBUTION_POINT: u8 = 0xa0;
const ONLY_USER_CERTS: u8 = 0x81;
const ONLY_CA_CERTS: u8 = 0x82;
const ONLY_SOME_REASONS: u8 = 0x83;
const INDIRECT_CRL: u8 = 0x84;
const ONLY_ATTRIBUTE_CERTS: u8 = 0x85;

impl CrlScope {
    /// Of the extension's value.
    pub(super) fn read(value: &[u8]) -> Result<Self, CrlFault> {
        let unreadable = || CrlFault::Unreadable("its issuingDistributionPoint");
        let fields = DerReader::new(value).take_last(SEQUENCE).ok_or_else(unreadable)?;
        let mut fields = DerReader::new(fields);
        fields.take(DISTRIBUTION_POINT);
        let only_end_entities = flag(&mut fields, ONLY_USER_CERTS).ok_or_else(unreadable)?;
        let only_cas = flag(&mut fields, ONLY_CA_CERTS).ok_or_else(unreadable)?;
        let only_some_reasons = fields.take(ONLY_SOME_REASONS).is_some();
        let is_indirect = flag(&mut fields, INDIRECT_CRL).ok_or_else(unreadable)?;
        let only_attributes = flag(&mut fields, ONLY_ATTRIBUTE_CERTS).ok_or_else(unreadable)?;
        if !fields.is_empty() {
            return Err(unreadable());
        }
        if is_indirect {
            return Err(CrlFault::Indirect);
        }
        if only_some_reasons {
            return Err(CrlFault::Partial("certificates that were revoked for some of the reasons"));
        }
        match (only_end_entities, only_cas, only_attributes) {
            (false, false, false) => Ok(Self::All),
            (true, false, false) => Ok(Self::EndEntities),
            (false, true, false) => Ok(Self::Cas),
            (false, false, true) => Err(CrlFault::Partial("attribute certificates")),
            // At most one of the three.
            _ => Err(unreadable()),
        }
    }
}

/// `BOOLEAN DEFAULT FALSE`, tagged.
fn flag(fields: &mut DerReader<'_>, identifier: u8) -> Option<bool> {
    match fields.is_next(identifier) {
        true => boolean(fields.take(identifier)?),
        false => Some(false),
    }
}
