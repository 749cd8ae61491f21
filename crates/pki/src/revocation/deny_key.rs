use crate::client_certificate::{shown_name, shown_serial};
use crate::short_hash::short_hash;
use crate::tbs::Tbs;
use crate::{DeviceId, DeviceIdentity};

/// What a deny-list finds a client's certificate by: 16 bytes of a SHA-256.
///
/// Each kind of key has a tag of its own: none can pass for another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DenyKey(pub [u8; 16]);

hexadecimal!(DenyKey);

impl DenyKey {
    /// Certificates with this issuer, serial number and public key. A fingerprint alone would be
    /// bypassed: an ECDSA signature can be turned into a second valid one.
    pub fn certificate(device: DeviceId) -> Self {
        Self(short_hash([b"certificate".as_slice(), &device.0]))
    }

    /// Certificates with this issuer and serial number, as
    /// [`DeviceCertificate`](crate::DeviceCertificate) shows them.
    pub fn issued(issuer: &str, serial: &str) -> Self {
        Self(short_hash([b"issued".as_slice(), issuer.as_bytes(), serial.as_bytes()]))
    }

    /// Certificates with this name: exactly what [`DeviceIdentity::of`] gives.
    pub fn named(name: &str) -> Self {
        Self(short_hash([b"named".as_slice(), name.as_bytes()]))
    }

    /// Those of them that have this issuer, as
    /// [`DeviceCertificate`](crate::DeviceCertificate) shows it.
    pub fn named_by(name: &str, issuer: &str) -> Self {
        Self(short_hash([b"named by".as_slice(), name.as_bytes(), issuer.as_bytes()]))
    }
}

/// All keys that a certificate is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DenyKeys {
    certificate: DenyKey,
    issued: DenyKey,
    /// By name, and by name and issuer. `None` without a name.
    named: Option<[DenyKey; 2]>,
}

impl DenyKeys {
    /// Of a certificate in DER. `None` if it cannot be read.
    pub fn of(certificate: &[u8], identity: DeviceIdentity) -> Option<Self> {
        let tbs = Tbs::read(certificate)?;
        let issuer = shown_name(tbs.issuer);
        let named = |name: String| [DenyKey::named(&name), DenyKey::named_by(&name, &issuer)];
        Some(Self {
            certificate: DenyKey::certificate(DeviceId::of(&tbs)?),
            issued: DenyKey::issued(&issuer, &shown_serial(&tbs)?),
            named: identity.of(certificate).ok().map(named),
        })
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &DenyKey> {
        [&self.certificate, &self.issued].into_iter().chain(self.named.iter().flatten())
    }
}
