use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// An API key with its secret, as `certward init` prints them. Further fields are ignored.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApiKeyPair {
    pub(crate) api_key: String,
    #[serde(deserialize_with = "secret")]
    pub(crate) secret_key: Zeroizing<String>,
}

impl ApiKeyPair {
    /// `None` for other text. What serde would say of it may hold parts of the secret.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let pair: Self = serde_json::from_slice(text).ok()?;
        (!pair.api_key.is_empty() && !pair.secret_key.is_empty()).then_some(pair)
    }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

/// Without the secret.
impl std::fmt::Debug for ApiKeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKeyPair").field("api_key", &self.api_key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_what_init_and_key_create_print() {
        for text in [
            r#"{"apiKey":"k","secretKey":"hunter2"}"#,
            r#"{"apiKey":"k","createAt":"2034-01-01 00:00","name":"n","scopes":["tls"],"secretKey":"hunter2"}"#,
            " {\n \"secretKey\": \"hunter2\", \"apiKey\": \"k\" }\n",
        ] {
            let pair = ApiKeyPair::parse(text.as_bytes()).unwrap();
            assert_eq!((pair.api_key.as_str(), pair.secret_key.as_str()), ("k", "hunter2"));
            assert!(!format!("{pair:?}").contains("hunter2"));
        }
        for text in [
            "",
            "hunter2",
            "[]",
            r#"{"apiKey":"k"}"#,
            r#"{"apiKey":"k","secretKey":""}"#,
            r#"{"apiKey":"","secretKey":"hunter2"}"#,
            r#"{"apiKey":1,"secretKey":"hunter2"}"#,
            r#"{"apiKey":"k","secretKey":"hunter2"} x"#,
        ] {
            assert!(ApiKeyPair::parse(text.as_bytes()).is_none(), "{text}");
        }
    }
}
