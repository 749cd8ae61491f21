//! An entry of a deployment's deny-list.

use std::fmt;

use certward_pki::{DenyKey, DeviceId};
use serde::{Serialize, Serializer};

use crate::{ApiKey, Generation, Timestamp};

/// Entries of a deployment's deny-list.
pub const REVOCATIONS_MAX: u64 = 100_000;
/// Of all deny-lists; changes at the same time, which do not see each other, may exceed it by their
/// own.
pub const REVOCATIONS_IN_ALL_MAX: u64 = 1_000_000;

/// Identifies a revocation: 16 random bytes, 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevocationId(pub [u8; 16]);

/// What certificates a revocation refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevokedWhat {
    /// One, and each with its issuer, serial number and public key.
    Certificate {
        /// Identifies those three.
        device: DeviceId,
        /// The one's.
        fingerprint: String,
        /// At most 160 bytes.
        issuer: String,
        /// As in [`DeviceCertificate`](certward_pki::DeviceCertificate).
        serial: String,
    },
    /// Those of an issuer with a serial number.
    Serial {
        /// As in [`DeviceCertificate`](certward_pki::DeviceCertificate).
        issuer: String,
        /// As in [`DeviceCertificate`](certward_pki::DeviceCertificate).
        serial: String,
    },
    /// Those with a name, as the broker receives it; of one issuer if there is one.
    Name {
        /// Exactly.
        name: String,
        /// As in [`DeviceCertificate`](certward_pki::DeviceCertificate).
        issuer: Option<String>,
    },
}

/// A revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Its id.
    pub id: RevocationId,
    /// Of the change that added it.
    pub generation: Generation,
    /// What it refuses.
    pub what: RevokedWhat,
    /// For people; may be empty.
    pub reason: String,
    /// Who added it; the key may be revoked since.
    pub revoked_by: ApiKey,
    /// When.
    pub revoked_at: Timestamp,
}

impl RevokedWhat {
    /// What certificates are looked up by.
    pub fn key(&self) -> DenyKey {
        match self {
            Self::Certificate { device, .. } => DenyKey::certificate(*device),
            Self::Serial { issuer, serial } => DenyKey::issued(issuer, serial),
            Self::Name { name, issuer: None } => DenyKey::named(name),
            Self::Name { name, issuer: Some(issuer) } => DenyKey::named_by(name, issuer),
        }
    }
}

impl RevocationId {
    /// Of 32 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        // The same form.
        DeviceId::parse(text).map(|DeviceId(bytes)| Self(bytes))
    }
}

impl fmt::Display for RevocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        DeviceId(self.0).fmt(f)
    }
}

impl fmt::Debug for RevocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for RevocationId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
