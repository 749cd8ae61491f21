use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use thiserror::Error;
use zeroize::Zeroizing;

/// The key that signs webhooks: `whsec_` and base64 of 24 to 64 bytes (Standard Webhooks). Without
/// serde: it is stored sealed.
#[derive(Clone)]
pub struct WebhookSecret {
    text: Zeroizing<String>,
    key: Zeroizing<Vec<u8>>,
}

/// Why a text is no secret. It never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WebhookSecretError {
    /// Without the prefix.
    #[error("it must begin with whsec_")]
    Prefix,
    /// Not base64.
    #[error("whsec_ must be followed by base64 with its padding")]
    Base64,
    /// Too short or too long.
    #[error("whsec_ must be followed by the base64 of 24 to 64 bytes")]
    Length,
}

const PREFIX: &str = "whsec_";
const KEY_BYTES_MIN: usize = 24;
const KEY_BYTES_MAX: usize = 64;
/// Four characters for three bytes.
const BASE64_BYTES_MAX: usize = KEY_BYTES_MAX.div_ceil(3) * 4;

impl WebhookSecret {
    /// Reads `whsec_` and base64.
    pub fn parse(text: &str) -> Result<Self, WebhookSecretError> {
        let base64 = text.strip_prefix(PREFIX).ok_or(WebhookSecretError::Prefix)?;
        if base64.len() > BASE64_BYTES_MAX {
            return Err(WebhookSecretError::Length);
        }
        // Full capacity: a growing buffer leaves copies.
        let mut key = Zeroizing::new(Vec::with_capacity(BASE64_BYTES_MAX));
        BASE64_STANDARD.decode_vec(base64, &mut key).map_err(|_| WebhookSecretError::Base64)?;
        if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&key.len()) {
            return Err(WebhookSecretError::Length);
        }
        Ok(Self { text: Zeroizing::new(text.to_owned()), key })
    }

    /// A new secret of these random bytes.
    pub fn generate(random: &Zeroizing<[u8; 32]>) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + BASE64_BYTES_MAX));
        text.push_str(PREFIX);
        BASE64_STANDARD.encode_string(random.as_slice(), &mut text);
        Self { text, key: Zeroizing::new(random.to_vec()) }
    }

    /// The text, for its owner.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The bytes of the HMAC key.
    pub fn expose_key(&self) -> &[u8] {
        &self.key
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_secret_is_the_base64_of_24_to_64_bytes() {
        use WebhookSecretError as E;
        let of = |bytes: usize| format!("whsec_{}", BASE64_STANDARD.encode(vec![7; bytes]));
        for (text, expected) in [
            (of(23), Err(E::Length)),
            (of(24), Ok(24)),
            (of(32), Ok(32)),
            (of(64), Ok(64)),
            (of(65), Err(E::Length)),
            (of(10_000), Err(E::Length)),
            (String::new(), Err(E::Prefix)),
            ("whsec_".to_owned(), Err(E::Length)),
            (of(24).replace("whsec_", "WHSEC_"), Err(E::Prefix)),
            (of(32).trim_end_matches('=').to_owned(), Err(E::Base64)),
            (of(24) + "\n", Err(E::Base64)),
            (of(24).replace('B', "-"), Err(E::Base64)),
        ] {
            let read = WebhookSecret::parse(&text);
            assert_eq!(read.as_ref().map(|secret| secret.expose_key().len()).map_err(|e| *e), expected);
            let shown = format!("{read:?}");
            assert!(text.len() < 8 || !shown.contains(&text[6..]), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn a_generated_secret_is_read_again(random: [u8; 32]) {
            let secret = WebhookSecret::generate(&Zeroizing::new(random));
            prop_assert_eq!(secret.expose_key(), random);
            let again = WebhookSecret::parse(secret.expose()).unwrap();
            prop_assert_eq!(again.expose_key(), random);
            prop_assert_eq!(again.expose(), secret.expose());
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in prop_oneof![".{0,120}", "whsec_[A-Za-z0-9+/=]{0,100}"]) {
            if let Ok(secret) = WebhookSecret::parse(&text) {
                prop_assert_eq!(secret.expose(), text);
            }
        }
    }
}
