use serde::Deserialize;

use super::{finding::FindingAnswer, tls::TlsAnswer};

/// The list omits some fields.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DeploymentAnswer {
    #[serde(rename = "deploymentID")]
    pub(crate) id: String,
    #[serde(rename = "deploymentName")]
    pub(crate) name: String,
    #[serde(rename = "projectID")]
    pub(crate) project_id: Option<String>,
    pub(crate) project_name: Option<String>,
    pub(crate) status: String,
    pub(crate) create_at: String,
    pub(crate) upstream: Option<String>,
    pub(crate) ws_upstream: Option<String>,
    pub(crate) hosts: Vec<String>,
    pub(crate) profile: Option<String>,
    pub(crate) proxy_protocol: Option<String>,
    pub(crate) proxy_identity: Option<String>,
    pub(crate) connections: u64,
    pub(crate) connection_rate: u64,
    pub(crate) record_bytes: Option<u64>,
    /// In seconds; 0 for no limit.
    pub(crate) max_session_age: u64,
    /// Absent without a certificate.
    pub(crate) tls: Option<TlsAnswer>,
    /// Through the node that answered.
    pub(crate) connected: u64,
    /// At the node that answered.
    pub(crate) last_failure: Option<LastFailureAnswer>,
    pub(crate) broker_troubles: Vec<BrokerTroubleAnswer>,
    pub(crate) warnings: Vec<FindingAnswer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LastFailureAnswer {
    pub(crate) at: String,
    pub(crate) cause: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct BrokerTroubleAnswer {
    pub(crate) node: String,
    pub(crate) listener: String,
    pub(crate) upstream: String,
    pub(crate) message: String,
    pub(crate) remedy: String,
    pub(crate) since: String,
    pub(crate) last_at: String,
    pub(crate) turned_away: u64,
    pub(crate) disconnected: u64,
}
