//! The key of the audit's chain, derived from the master key, one way.

use aws_lc_rs::{constant_time, hmac};
use zeroize::Zeroizing;

use crate::MasterKey;

pub(crate) const MAC_BYTES: usize = 32;
pub(crate) const KEY_BYTES: usize = 32;

/// Authenticates rows of the audit.
pub(crate) struct AuditKey {
    key: hmac::Key,
    /// For the sealed record.
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

impl AuditKey {
    pub(crate) fn of(master: &MasterKey) -> Self {
        let master = hmac::Key::new(hmac::HMAC_SHA256, master.0.as_slice());
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        bytes.copy_from_slice(hmac::sign(&master, b"certward audit chain").as_ref());
        Self::from_bytes(bytes)
    }

    pub(crate) fn from_bytes(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, bytes.as_slice()), bytes }
    }

    pub(crate) fn bytes(&self) -> &Zeroizing<[u8; KEY_BYTES]> {
        &self.bytes
    }

    pub(crate) fn mac(&self, message: &[u8]) -> [u8; MAC_BYTES] {
        let mut mac = [0; MAC_BYTES];
        mac.copy_from_slice(hmac::sign(&self.key, message).as_ref());
        mac
    }

    /// Whether `mac` is the message's.
    pub(crate) fn verifies(&self, message: &[u8], mac: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.mac(message), mac).is_ok()
    }
}
