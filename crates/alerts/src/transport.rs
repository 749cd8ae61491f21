use std::{sync::Arc, time::Duration};

use certward_outbound::{OutboundAllow, OutboundHttp, OutboundTlsError, client_config};
use rustls::ClientConfig;

/// What alerts are sent with; see its methods `post` and `mail`.
#[derive(Debug, Clone)]
pub struct AlertTransport {
    pub(crate) http: OutboundHttp,
    /// Of mail servers.
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) webhook_timeout: Duration,
    pub(crate) mail_timeout: Duration,
}

/// How alerts are sent.
#[derive(Debug, Clone)]
pub struct AlertTransportSettings {
    /// Where to.
    pub allow: OutboundAllow,
    /// Trusted beside the system's roots: PEM certificates of the operator's CA file.
    pub ca: Option<Vec<u8>>,
    /// For a whole webhook, look-up included. Default: 15 s, as common senders wait.
    pub webhook_timeout: Duration,
    /// For a whole mail, look-up included. Default: 30 s, as a server may check a sender first.
    pub mail_timeout: Duration,
}

impl AlertTransportSettings {
    /// With the system's roots and the default timeouts.
    pub fn new(allow: OutboundAllow) -> Self {
        Self {
            allow,
            ca: None,
            webhook_timeout: Duration::from_secs(15),
            mail_timeout: Duration::from_secs(30),
        }
    }
}

impl AlertTransport {
    /// Reads the roots; makes no connection.
    pub fn new(settings: AlertTransportSettings) -> Result<Self, OutboundTlsError> {
        let tls = Arc::new(client_config(settings.ca.as_deref())?);
        Ok(Self {
            http: OutboundHttp::new(settings.allow, Arc::clone(&tls)),
            tls,
            webhook_timeout: settings.webhook_timeout,
            mail_timeout: settings.mail_timeout,
        })
    }
}
