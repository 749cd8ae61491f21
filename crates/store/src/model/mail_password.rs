use std::fmt;

use thiserror::Error;
use zeroize::Zeroizing;

/// The password of a mail server. Without serde: it is stored sealed.
#[derive(Clone)]
pub struct MailPassword(Zeroizing<String>);

/// Why a text is no password. It never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MailPasswordError {
    /// Empty or over [`MailPassword::BYTES_MAX`].
    #[error("it must have 1 to 255 bytes")]
    Length,
    /// SASL separates by NUL and lines (RFC 4616 §2).
    #[error("it must hold no control characters")]
    ControlCharacter,
}

impl MailPassword {
    /// In bytes: what each implementation of SASL PLAIN accepts (RFC 4616 §2).
    pub const BYTES_MAX: usize = 255;

    /// Takes the text.
    pub fn parse(text: &str) -> Result<Self, MailPasswordError> {
        if text.is_empty() || text.len() > Self::BYTES_MAX {
            return Err(MailPasswordError::Length);
        }
        if text.chars().any(char::is_control) {
            return Err(MailPasswordError::ControlCharacter);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for MailPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MailPassword(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_a_short_line_and_never_shown() {
        use MailPasswordError as E;
        let longest = "a".repeat(255);
        for (text, expected) in [
            ("correct horse", Ok(())),
            ("pässwörd", Ok(())),
            (&longest, Ok(())),
            (&format!("{longest}a"), Err(E::Length)),
            ("", Err(E::Length)),
            ("two\nlines", Err(E::ControlCharacter)),
            ("nul\0", Err(E::ControlCharacter)),
        ] {
            let read = MailPassword::parse(text);
            assert_eq!(read.as_ref().map(|_| ()).map_err(|error| *error), expected, "{text:?}");
            assert!(text.is_empty() || !format!("{read:?}").contains(text), "{text:?}");
        }
    }
}
