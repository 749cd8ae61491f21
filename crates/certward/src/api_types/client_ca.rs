use serde::Deserialize;

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ClientCaAnswer {
    pub(crate) fingerprint: String,
    pub(crate) subject: String,
    pub(crate) not_after: String,
    #[serde(rename = "sameCA")]
    pub(crate) same_ca: Vec<String>,
    pub(crate) admitted: AdmittedAnswer,
    pub(crate) connected: u64,
    /// `None`: no device of it is known.
    pub(crate) last_seen_at: Option<String>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct AdmittedAnswer {
    pub(crate) last_day: u64,
    #[serde(rename = "last7Days")]
    pub(crate) last_7_days: u64,
    #[serde(rename = "last30Days")]
    pub(crate) last_30_days: u64,
}
