use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;

/// `[api]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ApiSection {
    /// `127.0.0.1:8080`. Plain HTTP only on loopback, or with `allow_plain_http`. Port 0: the
    /// system chooses, the log has the port.
    #[serde(deserialize_with = "super::address::socket_address")]
    pub(crate) listen: SocketAddr,
    /// The API's chain, PEM; HTTPS with `key`.
    pub(crate) cert: Option<PathBuf>,
    /// The private key of `cert`, PEM.
    pub(crate) key: Option<PathBuf>,
    /// Whether plain HTTP may carry secrets beyond loopback: `false`.
    pub(crate) allow_plain_http: bool,
    /// `platform` of deployments: `certward`.
    pub(crate) platform: String,
    /// `region` of deployments: `local`.
    pub(crate) region: String,
}

impl Default for ApiSection {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            cert: None,
            key: None,
            allow_plain_http: false,
            platform: "certward".into(),
            region: "local".into(),
        }
    }
}
