use certward_pki::Upload;
use serde::de::MapAccess;
use utoipa::ToSchema;

use crate::{
    any_json::any_json,
    error::Error,
    json,
    openapi::vocabulary::{PemText, UploadTypeWord},
};

/// A certificate, its key, and for two-way the client CAs; all PEM.
#[derive(ToSchema)]
#[schema(as = Upload)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct UploadBody {
    #[schema(rename = "tlsType", value_type = UploadTypeWord)]
    tls_type: String,
    /// The leaf and its chain in PEM, in any order.
    #[schema(value_type = PemText)]
    cert: String,
    /// The leaf's private key in PEM.
    #[schema(format = Password, min_length = 1, max_length = 262144)]
    key: String,
    /// The passphrase of `key`, if that is an encrypted PKCS#8 key (PBES2). Used once, never kept.
    #[schema(rename = "keyPassword", format = Password, max_length = 1024)]
    key_password: Option<String>,
    /// The client CAs in PEM. Needed for two-way; absent, null or empty for one-way and keep.
    #[schema(max_length = 262144)]
    cacert: Option<String>,
}

/// A property that is not text is refused by the judgement (422), not here.
pub(crate) fn read(bytes: &[u8]) -> Result<Upload, Error> {
    json::object::<UploadFields>(bytes).map(|read| read.0)
}

#[derive(Default)]
struct UploadFields(Upload);

impl json::FromFields for UploadFields {
    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        let field = match name {
            "tlsType" => &mut self.0.tls_type,
            "cert" => &mut self.0.cert,
            "key" => &mut self.0.key,
            "keyPassword" => &mut self.0.key_password,
            "cacert" => &mut self.0.cacert,
            _ => return Ok(false),
        };
        *field = map.next_value_seed(any_json())?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use certward_pki::Text;

    use super::*;

    fn word(text: &Text) -> String {
        match text {
            Text::Absent => "absent".to_owned(),
            Text::NotText => "not text".to_owned(),
            Text::Given(text) => format!("={}", text.as_str()),
        }
    }

    #[test]
    fn a_property_is_absent_text_or_not_text() {
        for (body, expected) in [
            (r#"{}"#, "absent"),
            (r#"{"key":null}"#, "absent"),
            (r#"{"key":""}"#, "="),
            (r#"{"key":"a\nb\u00e4"}"#, "=a\nbä"),
            (r#"{"key":true}"#, "not text"),
            (r#"{"key":1}"#, "not text"),
            (r#"{"key":-1}"#, "not text"),
            (r#"{"key":1.5}"#, "not text"),
            (r#"{"key":["a",{"b":[]}]}"#, "not text"),
            (r#"{"key":{"a":"b"}}"#, "not text"),
            (r#"{"Key":"x","KEY":"y","tlstype":"z"}"#, "absent"),
            (r#"{"status":"running","x":{"key":"y","key":"z"},"key":"a"}"#, "=a"),
        ] {
            let upload = read(body.as_bytes()).unwrap();
            assert_eq!(word(&upload.key), expected, "{body}");
        }
    }

    #[test]
    fn each_field_goes_to_its_place() {
        let upload = read(br#"{"cacert":"5","keyPassword":"4","key":"3","cert":"2","tlsType":"1"}"#).unwrap();
        let words =
            [&upload.tls_type, &upload.cert, &upload.key, &upload.key_password, &upload.cacert].map(word);
        assert_eq!(words, ["=1", "=2", "=3", "=4", "=5"]);
    }

    proptest::proptest! {
        #[test]
        fn whatever_bytes_come_they_are_an_upload_or_invalid_json(
            bytes: Vec<u8>,
            text in r#"[{}\[\]":,\\udtlsypecrkn0-9 ]{0,60}"#,
        ) {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                if let Err(error) = read(bytes) {
                    proptest::prop_assert!(matches!(error, Error::InvalidJson(_)));
                }
            }
        }
    }

    #[test]
    fn a_field_given_twice_is_refused() {
        for body in [r#"{"key":"a","key":"a"}"#, r#"{"x":1,"x":1}"#, r#"{"key":null,"\u006bey":"a"}"#] {
            assert!(matches!(read(body.as_bytes()), Err(Error::InvalidJson(_))), "{body}");
        }
    }
}
