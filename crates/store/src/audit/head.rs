use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::sealed::random;

/// 128 bits of the MAC: short enough to copy, too long to guess.
const HEAD_MAC_BYTES: usize = 16;

/// A row that the chain had, to compare with later: `NUMBER:` and 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditHead {
    /// The row's, in the chain.
    pub number: i64,
    /// Hexadecimal.
    mac: String,
}

/// Why a text is no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a head is a number, ':' and 32 hexadecimal digits, as `certward audit verify` prints it")]
pub struct AuditHeadError;

impl AuditHead {
    /// Of the row with this MAC.
    pub fn of(number: i64, mac: &[u8]) -> Self {
        let mut text = String::with_capacity(2 * HEAD_MAC_BYTES);
        random::push_hex(&mut text, &mac[..mac.len().min(HEAD_MAC_BYTES)]);
        Self { number, mac: text }
    }
}

impl FromStr for AuditHead {
    type Err = AuditHeadError;

    fn from_str(text: &str) -> Result<Self, AuditHeadError> {
        let (number, mac) = text.trim().split_once(':').ok_or(AuditHeadError)?;
        let number = number.parse().ok().filter(|number| *number > 0).ok_or(AuditHeadError)?;
        let hex = mac.len() == 2 * HEAD_MAC_BYTES && mac.bytes().all(|digit| digit.is_ascii_hexdigit());
        if hex { Ok(Self { number, mac: mac.to_ascii_lowercase() }) } else { Err(AuditHeadError) }
    }
}

impl fmt::Display for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, self.mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_is_printed_and_in_no_other_form() {
        let head = AuditHead::of(12, &[0xab; 32]);
        assert_eq!(head.to_string(), format!("12:{}", "ab".repeat(16)));
        assert_eq!(head.to_string().parse(), Ok(head.clone()));
        assert_eq!(format!(" {}\n", head.to_string().to_uppercase()).parse(), Ok(head));
        let hex = "ab".repeat(16);
        for wrong in
            ["", "12", &hex, &format!("0:{hex}"), &format!("-1:{hex}"), &format!("12:{hex}0"), "12:xy"]
        {
            assert_eq!(wrong.parse::<AuditHead>(), Err(AuditHeadError), "{wrong:?}");
        }
    }
}
