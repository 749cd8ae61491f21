use certward_store::{Revocation, RevokedWhat};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    openapi::vocabulary::{
        ApiKeyText, CertificateNameText, DeviceIdText, DeviceNameText, FingerprintText, ReasonText,
        RevocationIdText, RevocationKindWord, SerialText, UtcTimeText,
    },
    wire_time,
};

/// An entry of a deployment's deny-list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Revocation)]
pub(crate) struct RevocationBody {
    #[schema(value_type = RevocationIdText)]
    id: String,
    #[schema(value_type = RevocationKindWord)]
    by: &'static str,
    /// The certificate, by its issuer, serial number and public key; of `certificate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<DeviceIdText>)]
    device: Option<String>,
    /// The certificate's; of `certificate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<FingerprintText>)]
    fingerprint: Option<String>,
    /// Of `certificate` and `serial`; of `name` if it is limited to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<CertificateNameText>)]
    issuer: Option<String>,
    /// Of `certificate` and `serial`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<SerialText>)]
    serial: Option<String>,
    /// Of `name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<DeviceNameText>)]
    name: Option<String>,
    /// For people; empty if none was given.
    #[schema(value_type = ReasonText)]
    reason: String,
    /// The API key that added it, which may be revoked since.
    #[schema(value_type = ApiKeyText)]
    revoked_by: String,
    /// When, UTC.
    #[schema(value_type = UtcTimeText)]
    revoked_at: String,
}

impl From<Revocation> for RevocationBody {
    fn from(Revocation { id, generation: _, what, reason, revoked_by, revoked_at }: Revocation) -> Self {
        let by = match what {
            RevokedWhat::Certificate { .. } => "certificate",
            RevokedWhat::Serial { .. } => "serial",
            RevokedWhat::Name { .. } => "name",
        };
        let plain = Self {
            id: id.to_string(),
            by,
            device: None,
            fingerprint: None,
            issuer: None,
            serial: None,
            name: None,
            reason,
            revoked_by: revoked_by.to_string(),
            revoked_at: wire_time::to_the_second(revoked_at.to_time()),
        };
        match what {
            RevokedWhat::Certificate { device, fingerprint, issuer, serial } => Self {
                device: Some(device.to_string()),
                fingerprint: Some(fingerprint),
                issuer: Some(issuer),
                serial: Some(serial),
                ..plain
            },
            RevokedWhat::Serial { issuer, serial } => {
                Self { issuer: Some(issuer), serial: Some(serial), ..plain }
            }
            RevokedWhat::Name { name, issuer } => Self { name: Some(name), issuer, ..plain },
        }
    }
}
