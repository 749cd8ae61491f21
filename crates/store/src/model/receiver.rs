use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{MailPassword, MailSettings, StoreError, WebhookSecret, WebhookUrl};

/// Where a channel's alerts go. Stored sealed.
#[derive(Clone)]
pub enum AlertReceiver {
    /// A signed POST.
    Webhook {
        /// May hold a secret in its path or query.
        url: WebhookUrl,
        /// Signs each message.
        secret: WebhookSecret,
    },
    /// Mail.
    Mail {
        /// By which server, from whom and to whom.
        settings: MailSettings,
        /// Of the server's user.
        password: Option<MailPassword>,
    },
}

/// Only what is no secret.
impl fmt::Debug for AlertReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webhook { .. } => f.write_str("Webhook(redacted)"),
            Self::Mail { settings, .. } => f.debug_tuple("Mail").field(settings).finish(),
        }
    }
}

/// What is sealed, as JSON.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct SealedReceiver {
    url: Option<String>,
    #[zeroize(skip)]
    mail: Option<MailSettings>,
    secret: Option<String>,
}

impl AlertReceiver {
    pub(crate) fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let sealed = match self {
            Self::Webhook { url, secret } => SealedReceiver {
                url: Some(url.as_str().into()),
                mail: None,
                secret: Some(secret.expose().into()),
            },
            Self::Mail { settings, password } => SealedReceiver {
                url: None,
                mail: Some(settings.clone()),
                secret: password.as_ref().map(|password| password.expose().into()),
            },
        };
        // Growing would leave copies.
        let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
        serde_json::to_writer(&mut *bytes, &sealed).map_err(|_| StoreError::corrupt("a new receiver"))?;
        Ok(bytes)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut sealed: SealedReceiver = serde_json::from_slice(bytes).ok()?;
        let secret = sealed.secret.as_deref();
        match (&sealed.url, &mut sealed.mail) {
            (Some(url), None) => Some(Self::Webhook {
                url: WebhookUrl::parse(url).ok()?,
                secret: WebhookSecret::parse(secret?).ok()?,
            }),
            (None, Some(mail)) => Some(Self::Mail {
                settings: mail.clone(),
                password: secret.map(MailPassword::parse).transpose().ok()?,
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MailAddress, MailSecurity, MailServer};

    #[test]
    fn a_receiver_reads_as_it_was_written_and_shows_no_secret() {
        let url = WebhookUrl::parse("https://hooks.example/T0/canary-path").unwrap();
        let secret = WebhookSecret::generate(&Zeroizing::new([7; 32]));
        let signing = secret.expose().to_owned();
        let server = MailServer::parse("mail.example", 587, MailSecurity::Starttls, Some("ops")).unwrap();
        let address = MailAddress::parse("ops@example.com").unwrap();
        let settings = MailSettings::new(server, address.clone(), vec![address]).unwrap();
        let password = MailPassword::parse("canary-password").unwrap();
        let receivers = [
            AlertReceiver::Webhook { url, secret },
            AlertReceiver::Mail { settings: settings.clone(), password: Some(password) },
            AlertReceiver::Mail { settings, password: None },
        ];
        for receiver in receivers {
            let bytes = receiver.to_bytes().unwrap();
            assert_eq!(AlertReceiver::from_bytes(&bytes).unwrap().to_bytes().unwrap(), bytes);
            let shown = format!("{receiver:?}");
            assert!(!shown.contains("canary") && !shown.contains(&signing), "{shown}");
        }
        assert!(AlertReceiver::from_bytes(b"{}").is_none());
    }
}
