//! Extensions of a CRL and of its entries (RFC 5280 §5.2, §5.3).

use x509_parser::asn1_rs;

use super::crl_fault::CrlFault;
use super::crl_number::CrlNumber;
use super::crl_scope::CrlScope;
use super::der_reader::{BOOLEAN, DerReader, ENUMERATED, OCTET_STRING, OID, SEQUENCE, boolean};

/// What is used of a CRL's extensions.
#[derive(Clone, Debug, Default)]
pub(super) struct CrlExtensions<'a> {
    pub(super) number: Option<CrlNumber<'a>>,
    /// The signer's key identifier.
    pub(super) authority_key_id: Option<&'a [u8]>,
    /// issuingDistributionPoint's value.
    pub(super) distribution_point: Option<&'a [u8]>,
    pub(super) scope: CrlScope,
}

const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 35];
const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 20];
const DELTA_CRL_INDICATOR: &[u8] = &[0x55, 0x1d, 27];
const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 28];

const REASON_CODE: &[u8] = &[0x55, 0x1d, 21];
const HOLD_INSTRUCTION: &[u8] = &[0x55, 0x1d, 23];
const INVALIDITY_DATE: &[u8] = &[0x55, 0x1d, 24];
const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1d, 29];

/// The identifier of keyIdentifier in AuthorityKeyIdentifier.
const KEY_IDENTIFIER: u8 = 0x80;

impl<'a> CrlExtensions<'a> {
    /// Of the content of `Extensions`.
    ///
    /// Only the three that must be processed may be critical, as for OpenSSL: cRLNumber is "a
    /// non-critical CRL extension" (§5.2.3).
    pub(super) fn read(extensions: &'a [u8]) -> Result<Self, CrlFault> {
        let mut read = Self::default();
        let mut left = DerReader::new(extensions);
        while !left.is_empty() {
            let CrlExtension { oid, is_critical, value } =
                CrlExtension::take(&mut left).ok_or(CrlFault::Unreadable("its extensions"))?;
            match oid {
                DELTA_CRL_INDICATOR => return Err(CrlFault::Delta),
                ISSUING_DISTRIBUTION_POINT => {
                    read.scope = CrlScope::read(value)?;
                    once(&mut read.distribution_point, value)?;
                }
                AUTHORITY_KEY_ID => {
                    if let Some(id) = key_identifier(value)? {
                        once(&mut read.authority_key_id, id)?;
                    }
                }
                _ if is_critical => return Err(CrlFault::CriticalExtension(shown_oid(oid))),
                CRL_NUMBER => {
                    let number = CrlNumber::read(value).ok_or(CrlFault::Unreadable("its cRLNumber"))?;
                    once(&mut read.number, number)?;
                }
                _ => {}
            }
        }
        Ok(read)
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), CrlFault> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(CrlFault::Unreadable("an extension is there twice")),
    }
}

fn key_identifier(value: &[u8]) -> Result<Option<&[u8]>, CrlFault> {
    let fields = DerReader::new(value).take_last(SEQUENCE);
    let fields = fields.ok_or(CrlFault::Unreadable("its authorityKeyIdentifier"))?;
    Ok(DerReader::new(fields).take(KEY_IDENTIFIER))
}

/// Of the content of an entry's `Extensions`. Reason and dates change nothing: also a certificate
/// on hold is revoked, and so is one "removed from the CRL", which only delta CRLs can say.
pub(super) fn check_entry_extensions(extensions: &[u8]) -> Result<(), CrlFault> {
    let unreadable = CrlFault::Unreadable("the extensions of an entry");
    let mut left = DerReader::new(extensions);
    let mut has_reason = false;
    while !left.is_empty() {
        let Some(CrlExtension { oid, is_critical, value }) = CrlExtension::take(&mut left) else {
            return Err(unreadable);
        };
        match oid {
            REASON_CODE => {
                let is_reason =
                    DerReader::new(value).take_last(ENUMERATED).is_some_and(|reason| reason.len() == 1);
                if !is_reason || std::mem::replace(&mut has_reason, true) {
                    return Err(unreadable);
                }
            }
            CERTIFICATE_ISSUER => return Err(CrlFault::Indirect),
            INVALIDITY_DATE | HOLD_INSTRUCTION => {}
            _ if is_critical => return Err(CrlFault::CriticalEntryExtension(shown_oid(oid))),
            _ => {}
        }
    }
    Ok(())
}

struct CrlExtension<'a> {
    oid: &'a [u8],
    is_critical: bool,
    value: &'a [u8],
}

impl<'a> CrlExtension<'a> {
    fn take(left: &mut DerReader<'a>) -> Option<Self> {
        let mut fields = DerReader::new(left.take(SEQUENCE)?);
        let oid = fields.take(OID)?;
        let is_critical = match fields.is_next(BOOLEAN) {
            true => boolean(fields.take(BOOLEAN)?)?,
            false => false,
        };
        Some(Self { oid, is_critical, value: fields.take_last(OCTET_STRING)? })
    }
}

/// More than any that is in use.
const OID_BYTES_SHOWN_MAX: usize = 32;

fn shown_oid(oid: &[u8]) -> String {
    match oid.len() {
        ..=OID_BYTES_SHOWN_MAX => asn1_rs::Oid::new(oid.into()).to_id_string(),
        bytes => format!("with an OID of {bytes} bytes"),
    }
}
