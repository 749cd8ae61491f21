//! Sealed records, the only form of secrets in the database.
//!
//! Both layers are AES-256-GCM with random nonces, bound to the record's place: a record moved to
//! another row does not open. A data key seals one record; a master key wraps far fewer than the
//! 2^32 keys that random nonces allow (NIST SP 800-38D §8.3).

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use crate::{
    MasterKey, MasterKeyId, StoreError,
    sealed::{audit_key::AuditKey, master_key_id::KEY_ID, random},
};

const FORMAT: u8 = 1;
const NONCE: usize = 12;
const TAG: usize = 16;
const DATA_KEY: usize = 32;
const WRAPPED: usize = NONCE + DATA_KEY + TAG;
const HEADER: usize = 1 + KEY_ID + WRAPPED;

#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordPlace<'a> {
    pub(crate) table: &'static str,
    pub(crate) row: &'a str,
    pub(crate) version: i64,
}

/// The format:
///
/// ```text
/// 1   format, 1
/// 8   id of the master key
/// 12  nonce ┐ the record's own random data key,
/// 48  key   ┘ sealed under the master key
/// 12  nonce ┐ the record,
/// n   text  ┘ sealed under the data key, with its tag of 16
/// ```
pub(crate) struct Sealer {
    key: RandomizedNonceKey,
    id: MasterKeyId,
    audit_key: AuditKey,
}

impl Sealer {
    pub(crate) fn new(master: &MasterKey) -> Self {
        Self { key: aes(master.0.as_slice()), id: MasterKeyId::of(master), audit_key: AuditKey::of(master) }
    }

    pub(crate) fn id(&self) -> MasterKeyId {
        self.id
    }

    /// For rows that are written now.
    pub(crate) fn audit_key(&self) -> &AuditKey {
        &self.audit_key
    }

    pub(crate) fn seal(&self, place: RecordPlace<'_>, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let data_key = random::key();
        let mut sealed = Vec::with_capacity(HEADER + NONCE + plain.len() + TAG);
        sealed.push(FORMAT);
        sealed.extend_from_slice(self.id.as_bytes());
        seal_onto(&mut sealed, &self.key, place.bound_to(b"key"), data_key.as_slice())?;
        seal_onto(&mut sealed, &aes(data_key.as_slice()), place.bound_to(b"record"), plain)?;
        Ok(sealed)
    }

    /// [`StoreError::WrongMasterKey`] for another master key, [`StoreError::Sealed`] if it does not
    /// open.
    pub(crate) fn open(
        &self,
        place: RecordPlace<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let fault = || StoreError::Sealed(place.to_string());
        let (header, record) = sealed.split_at_checked(HEADER).ok_or_else(fault)?;
        if header[0] != FORMAT {
            return Err(fault());
        }
        if header[1..=KEY_ID] != *self.id.as_bytes() {
            return Err(StoreError::WrongMasterKey);
        }
        let data_key = open(&self.key, place.bound_to(b"key"), &header[1 + KEY_ID..]).ok_or_else(fault)?;
        open(&aes(&data_key), place.bound_to(b"record"), record).ok_or_else(fault)
    }
}

/// Of a sealed record.
pub(crate) fn master_key_id(sealed: &[u8]) -> Option<MasterKeyId> {
    let id = sealed.get(1..=KEY_ID)?;
    Some(MasterKeyId::from_bytes(id.try_into().ok()?))
}

fn aes(key: &[u8]) -> RandomizedNonceKey {
    RandomizedNonceKey::new(&AES_256_GCM, key).expect("the key has 256 bits")
}

fn seal_onto(
    sealed: &mut Vec<u8>,
    key: &RandomizedNonceKey,
    bound_to: Vec<u8>,
    plain: &[u8],
) -> Result<(), StoreError> {
    // Capacity for the tag: sealing in place leaves no plain copy.
    let mut text = Zeroizing::new(Vec::with_capacity(plain.len() + TAG));
    text.extend_from_slice(plain);
    let nonce = key
        .seal_in_place_append_tag(Aad::from(bound_to), &mut *text)
        .map_err(|_| StoreError::unavailable("a record cannot be sealed"))?;
    sealed.extend_from_slice(nonce.as_ref());
    sealed.extend_from_slice(&text);
    Ok(())
}

fn open(key: &RandomizedNonceKey, bound_to: Vec<u8>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, text) = sealed.split_at_checked(NONCE)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut text = Zeroizing::new(text.to_vec());
    let length = key.open_in_place(nonce, Aad::from(bound_to), &mut text).ok()?.len();
    text.truncate(length);
    Some(text)
}

impl RecordPlace<'_> {
    /// Each part has a length prefix, against collisions.
    fn bound_to(&self, layer: &[u8]) -> Vec<u8> {
        let version = self.version.to_be_bytes();
        let parts = [b"certward AES-256-GCM 1", layer, self.table.as_bytes(), self.row.as_bytes(), &version];
        let mut bound = Vec::new();
        for part in parts {
            bound.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bound.extend_from_slice(part);
        }
        bound
    }
}

impl fmt::Display for RecordPlace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.table, self.row, self.version)
    }
}
