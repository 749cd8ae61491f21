use std::fmt;

use aws_lc_rs::hmac;
use thiserror::Error;

use crate::MasterKey;

pub(crate) const KEY_ID: usize = 8;

/// The public name of a master key: 64 bits, derived from it one way. Every sealed record has that
/// of its key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MasterKeyId([u8; KEY_ID]);

/// Not 16 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the id of a master key is 16 hexadecimal digits")]
pub struct MasterKeyIdError;

impl MasterKeyId {
    /// The id of this key.
    pub fn of(master_key: &MasterKey) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, master_key.0.as_slice());
        let digest = hmac::sign(&key, b"certward master key id");
        let mut id = [0; KEY_ID];
        id.copy_from_slice(&digest.as_ref()[..KEY_ID]);
        Self(id)
    }

    /// Reads what `Display` writes.
    ///
    /// # Errors
    /// [`MasterKeyIdError`].
    pub fn parse(text: &str) -> Result<Self, MasterKeyIdError> {
        let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 2 * KEY_ID || !text.bytes().all(is_digit) {
            return Err(MasterKeyIdError);
        }
        u64::from_str_radix(text, 16).map(|id| Self(id.to_be_bytes())).map_err(|_| MasterKeyIdError)
    }

    pub(crate) fn from_bytes(bytes: [u8; KEY_ID]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; KEY_ID] {
        &self.0
    }
}

impl fmt::Display for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKeyId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written_and_nothing_else_is_one() {
        let id = MasterKeyId::of(&MasterKey::parse(&"0f".repeat(32)).expect("a key"));
        let text = id.to_string();
        assert_eq!(MasterKeyId::parse(&text), Ok(id));
        for wrong in ["", &text[1..], &format!("{text}0"), &text.replace(&text[..1], "g"), "00000000000000FF"]
        {
            assert_eq!(MasterKeyId::parse(wrong), Err(MasterKeyIdError), "{wrong}");
        }
    }
}
