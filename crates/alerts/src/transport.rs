use std::{sync::Arc, time::Duration};

use rustls::ClientConfig;

use crate::{AlertAllow, OutboundError, tls::client_config};

/// What alerts are sent with; see its methods `post` and `mail`.
#[derive(Debug, Clone)]
pub struct Outbound {
    pub(crate) allow: AlertAllow,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) webhook_timeout: Duration,
    pub(crate) mail_timeout: Duration,
}

/// How alerts are sent.
#[derive(Debug, Clone)]
pub struct OutboundSettings {
    /// Where to.
    pub allow: AlertAllow,
    /// Trusted beside the system's roots: PEM certificates of the operator's CA file.
    pub ca: Option<Vec<u8>>,
    /// For a whole webhook, look-up included. Default: 15 s, as common senders wait.
    pub webhook_timeout: Duration,
    /// For a whole mail, look-up included. Default: 30 s, as a server may check a sender first.
    pub mail_timeout: Duration,
}

impl OutboundSettings {
    /// With the system's roots and the default timeouts.
    pub fn new(allow: AlertAllow) -> Self {
        Self {
            allow,
            ca: None,
            webhook_timeout: Duration::from_secs(15),
            mail_timeout: Duration::from_secs(30),
        }
    }
}

impl Outbound {
    /// Reads the roots; makes no connection.
    pub fn new(settings: OutboundSettings) -> Result<Self, OutboundError> {
        let tls = client_config(settings.ca.as_deref())?;
        Ok(Self {
            allow: settings.allow,
            tls: Arc::new(tls),
            webhook_timeout: settings.webhook_timeout,
            mail_timeout: settings.mail_timeout,
        })
    }
}
