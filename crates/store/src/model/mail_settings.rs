use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{MailAddress, MailServer};

/// By which server, from whom and to whom mail is sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "MailSettingsParts")]
pub struct MailSettings {
    server: MailServer,
    from: MailAddress,
    to: Vec<MailAddress>,
}

/// The number of recipients is out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("mail needs 1 to 20 recipients")]
pub struct MailSettingsError;

/// As stored.
#[derive(Deserialize)]
struct MailSettingsParts {
    server: MailServer,
    from: MailAddress,
    to: Vec<MailAddress>,
}

impl MailSettings {
    /// A larger group has a mailing list.
    pub const RECIPIENTS_MAX: usize = 20;

    /// Settings with 1 to [`MailSettings::RECIPIENTS_MAX`] recipients.
    pub fn new(
        server: MailServer,
        from: MailAddress,
        to: Vec<MailAddress>,
    ) -> Result<Self, MailSettingsError> {
        let fits = (1..=Self::RECIPIENTS_MAX).contains(&to.len());
        if fits { Ok(Self { server, from, to }) } else { Err(MailSettingsError) }
    }

    /// The server.
    pub fn server(&self) -> &MailServer {
        &self.server
    }

    /// The sender.
    pub fn from(&self) -> &MailAddress {
        &self.from
    }

    /// The recipients; never empty.
    pub fn to(&self) -> &[MailAddress] {
        &self.to
    }
}

impl TryFrom<MailSettingsParts> for MailSettings {
    type Error = MailSettingsError;

    fn try_from(parts: MailSettingsParts) -> Result<Self, Self::Error> {
        Self::new(parts.server, parts.from, parts.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MailSecurity;

    #[test]
    fn mail_has_1_to_20_recipients() {
        let server = MailServer::parse("mail.example", 465, MailSecurity::Tls, Some("user")).unwrap();
        let address = MailAddress::parse("ops@example.com").unwrap();
        for (recipients, expected) in [(0, false), (1, true), (20, true), (21, false)] {
            let settings =
                MailSettings::new(server.clone(), address.clone(), vec![address.clone(); recipients]);
            assert_eq!(settings.is_ok(), expected, "{recipients}");
            if let Ok(settings) = settings {
                let json = serde_json::to_string(&settings).unwrap();
                assert_eq!(serde_json::from_str::<MailSettings>(&json).unwrap(), settings);
            }
        }
        let none =
            r#"{"server":{"host":"a","port":25,"security":"plain","username":null},"from":"a@b","to":[]}"#;
        assert!(serde_json::from_str::<MailSettings>(none).is_err());
    }
}
