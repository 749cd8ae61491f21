use crate::short_hash::short_hash;
use crate::tbs::Tbs;

/// Identifies a device's certificate: 16 bytes of the SHA-256 of its issuer, serial and public key.
///
/// Not of its signature: an ECDSA signature can be turned into a second valid one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub [u8; 16]);

hexadecimal!(DeviceId);

impl DeviceId {
    /// `None` without a serial number.
    pub(crate) fn of(tbs: &Tbs<'_>) -> Option<Self> {
        Some(Self(short_hash([tbs.issuer, tbs.serial()?, tbs.spki])))
    }
}

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
