use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;

/// `[api]`: where operators' programs arrive.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ApiSection {
    /// The address of the API: `127.0.0.1:8080`. Plain HTTP on loopback only, elsewhere with `cert` and `key`, or with
    /// `allow_plain_http`. Port 0 lets the system choose; the log says which.
    #[serde(deserialize_with = "super::address::socket_address")]
    pub(crate) listen: SocketAddr,
    /// The certificate chain of the API, PEM; with `key` it makes the API HTTPS.
    pub(crate) cert: Option<PathBuf>,
    /// The private key of `cert`, PEM.
    pub(crate) key: Option<PathBuf>,
    /// Whether secrets may travel unencrypted to an address that is not loopback: `false`.
    pub(crate) allow_plain_http: bool,
    /// What deployments say they run on: `certward`.
    pub(crate) platform: String,
    /// Where deployments say they run: `local`.
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
