use serde::Deserialize;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DeviceAnswer {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) issuer: String,
    pub(crate) serial: String,
    pub(crate) fingerprint: String,
    #[serde(rename = "clientCA")]
    pub(crate) client_ca: String,
    pub(crate) not_after: String,
    pub(crate) first_seen_at: String,
    pub(crate) last_seen_at: String,
    pub(crate) host: String,
    pub(crate) tls_version: String,
    /// `None`: not known.
    pub(crate) connected: Option<bool>,
    pub(crate) address: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DeviceSummaryAnswer {
    pub(crate) sessions: u64,
    pub(crate) known: u64,
    pub(crate) not_recorded: u64,
    pub(crate) silent_nodes: Vec<String>,
    pub(crate) hosts: Vec<HostUseAnswer>,
    pub(crate) offers: Vec<OfferAnswer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct HostUseAnswer {
    pub(crate) host: String,
    pub(crate) last_seen_at: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct OfferAnswer {
    pub(crate) day: String,
    pub(crate) share: f64,
    pub(crate) sessions: u64,
    pub(crate) networks: u64,
    pub(crate) versions: Vec<String>,
    pub(crate) signature_schemes: Vec<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) record_bytes: Option<u16>,
    pub(crate) server_name: bool,
}
