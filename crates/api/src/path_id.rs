use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;

use certward_pki::DeviceId;
use certward_store::{CrlId, RevocationId, VersionId};

use crate::auth::BASE;

/// A path's id, percent-decoded once. `None` (bad escape or UTF-8) does not exist; never an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathId(Option<String>);

impl PathId {
    pub(crate) fn parse<T>(&self, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        self.0.as_deref().and_then(parse)
    }

    pub(crate) fn of(path: &str) -> Self {
        Self::at(path, 2)
    }

    /// The version of `/deployments/{id}/tls/versions/{version}`.
    pub(crate) fn version_of(path: &str) -> Option<VersionId> {
        Self::at(path, 5).parse(|text| {
            let version: i64 = text.parse().ok()?;
            // In one form only: no sign, no leading zeros.
            (version > 0 && text == version.to_string()).then_some(VersionId(version))
        })
    }

    /// The device of `/deployments/{id}/devices/{device}`.
    pub(crate) fn device_of(path: &str) -> Option<DeviceId> {
        Self::at(path, 4).parse(DeviceId::parse)
    }

    /// The client CA of `/deployments/{id}/tls/client-cas/{fingerprint}` and below.
    pub(crate) fn client_ca_of(path: &str) -> Option<String> {
        let is_fingerprint = |text: &str| {
            text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        Self::at(path, 5).parse(|text| is_fingerprint(text).then(|| text.to_owned()))
    }

    /// The revocation of `/deployments/{id}/tls/revocations/{revocation}`.
    pub(crate) fn revocation_of(path: &str) -> Option<RevocationId> {
        Self::at(path, 5).parse(RevocationId::parse)
    }

    /// The CRL of `/deployments/{id}/tls/crls/{crl}`, decoded.
    pub(crate) fn crl_of(path: &str) -> Option<CrlId> {
        Self::at(path, 5).parse(|text| CrlId::parse(text).ok())
    }

    /// The path begins with `/`: its first segment, 0, is empty.
    fn at(path: &str, segment: usize) -> Self {
        let mut segments = path.strip_prefix(BASE).unwrap_or_default().split('/').skip(segment);
        Self(segments.next().and_then(decode))
    }
}

impl<S: Sync> FromRequestParts<S> for PathId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts.uri.path()))
    }
}

/// Strict percent-decoding (RFC 3986 §2.1).
fn decode(segment: &str) -> Option<String> {
    let mut bytes = segment.bytes();
    let mut decoded = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' { hex(bytes.next()?)? << 4 | hex(bytes.next()?)? } else { byte });
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_named_by_its_id() {
        let of = |device: &str| PathId::device_of(&format!("/public_api/v1/deployments/a/devices/{device}"));
        assert_eq!(of(&"0a".repeat(16)), Some(DeviceId([10; 16])));
        assert_eq!(of(&format!("%30a{}", "0a".repeat(15))), Some(DeviceId([10; 16])));
        for other in ["", "summary", &"0A".repeat(16), &"0a".repeat(17)] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn a_client_ca_is_named_by_its_fingerprint() {
        let of =
            |text: &str| PathId::client_ca_of(&format!("/public_api/v1/deployments/a/tls/client-cas/{text}"));
        let fingerprint = "0a".repeat(32);
        assert_eq!(of(&fingerprint), Some(fingerprint.clone()));
        assert_eq!(of(&format!("{fingerprint}/stragglers")), Some(fingerprint.clone()));
        assert_eq!(of(&format!("%30{}", &fingerprint[1..])), Some(fingerprint.clone()));
        for other in ["", &fingerprint[2..], &fingerprint.to_uppercase(), &format!("{fingerprint}0a")] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn an_id_is_decoded_exactly_once() {
        for (path, id) in [
            ("/public_api/v1/deployments/ge6a1a75/tls", Some("ge6a1a75")),
            ("/public_api/v1/deployments/ge6a1a75", Some("ge6a1a75")),
            ("/public_api/v1/deployments/%67e6a1a75/tls", Some("ge6a1a75")),
            ("/public_api/v1/deployments/%2567e6a1a75/tls", Some("%67e6a1a75")),
            ("/public_api/v1/deployments/a%2Fb/tls", Some("a/b")),
            ("/public_api/v1/deployments/a+b/tls", Some("a+b")),
            ("/public_api/v1/deployments/%zz/tls", None),
            ("/public_api/v1/deployments/%6/tls", None),
            ("/public_api/v1/deployments/%/tls", None),
            ("/public_api/v1/deployments/%+6a/tls", None),
            ("/public_api/v1/deployments/%ff/tls", None),
            ("/public_api/v1/deployments//tls", Some("")),
            ("/public_api/v1/deployments", None),
        ] {
            assert_eq!(PathId::of(path).0.as_deref(), id, "{path}");
        }
    }

    #[test]
    fn a_version_is_a_number_in_one_form() {
        for (segment, version) in [
            ("7", Some(7)),
            ("%37", Some(7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("0", None),
            ("-7", None),
            ("+7", None),
            ("07", None),
            ("7.0", None),
            ("", None),
            ("%zz", None),
        ] {
            let path = format!("/public_api/v1/deployments/ge6a1a75/tls/versions/{segment}");
            assert_eq!(PathId::version_of(&path), version.map(VersionId), "{segment}");
        }
    }
}
