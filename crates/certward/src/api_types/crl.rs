use serde::Deserialize;

use super::FindingAnswer;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct CrlAnswer {
    pub(crate) id: String,
    pub(crate) issuer: String,
    pub(crate) number: String,
    /// `None`: it is not fetched yet.
    pub(crate) entries: Option<u64>,
    pub(crate) this_update: Option<String>,
    pub(crate) next_update: Option<String>,
    pub(crate) fingerprint: String,
    pub(crate) stale: String,
    pub(crate) is_stale: bool,
    pub(crate) url: String,
    pub(crate) fetched_at: Option<String>,
    pub(crate) next_fetch_at: Option<String>,
    pub(crate) failure: Option<CrlFailureAnswer>,
    pub(crate) put_by: String,
    pub(crate) put_at: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CrlFailureAnswer {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) since: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SetCrlAnswer {
    #[serde(flatten)]
    pub(crate) crl: CrlAnswer,
    pub(crate) warnings: Vec<FindingAnswer>,
    pub(crate) silent_nodes: Vec<String>,
}
