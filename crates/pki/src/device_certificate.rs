use std::fmt;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;

/// Identifies a device's certificate: 16 bytes of the SHA-256 of its issuer, serial and public key.
///
/// Not of its signature: an ECDSA signature can be turned into a second valid one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub [u8; 16]);

/// Identifies an [`IssuerPath`] within a deployment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathId(pub [u8; 16]);

/// How a device's certificate leads to a client CA: devices of one path are trusted alike, but for
/// their dates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerPath {
    /// Identifies it.
    pub id: PathId,
    /// A device's certificate of this path, DER, and the intermediates that it sent.
    pub example: Vec<Vec<u8>>,
    /// The notAfter of the example's first certificate.
    pub example_not_after: OffsetDateTime,
    /// The fingerprint of the client CA that it leads to.
    pub client_ca: Box<str>,
}

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

macro_rules! hexadecimal {
    ($id:ident) => {
        impl $id {
            /// Of 32 lower-case hexadecimal digits.
            pub fn parse(text: &str) -> Option<Self> {
                let digit = |byte: u8| match byte {
                    b'0'..=b'9' => Some(byte - b'0'),
                    b'a'..=b'f' => Some(byte - b'a' + 10),
                    _ => None,
                };
                let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
                let mut id = [0; 16];
                if pairs.len() != id.len() {
                    return None;
                }
                for (byte, [high, low]) in id.iter_mut().zip(pairs) {
                    *byte = digit(*high)? << 4 | digit(*low)?;
                }
                Some(Self(id))
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| D::Error::custom("32 hexadecimal digits are expected"))
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

hexadecimal!(DeviceId);
hexadecimal!(PathId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_and_read_as_hexadecimal_digits() {
        let id = DeviceId(*b"\0\x01abcdefghijkl\xfe\xff");
        assert_eq!(id.to_string(), "00016162636465666768696a6b6cfeff");
        assert_eq!(DeviceId::parse(&id.to_string()), Some(id));
        for wrong in ["", "0", "00016162636465666768696A6b6cfeff", "00016162636465666768696a6b6cfef", "zz"] {
            assert_eq!(DeviceId::parse(wrong), None, "{wrong}");
        }
    }
}
