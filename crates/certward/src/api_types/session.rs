use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SessionsAnswer {
    pub(crate) total: u64,
    pub(crate) sessions: Vec<SessionAnswer>,
    pub(crate) anonymous_nodes: Vec<String>,
    pub(crate) silent_nodes: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SessionAnswer {
    pub(crate) node: String,
    pub(crate) device: String,
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) port: u16,
    pub(crate) host: String,
    pub(crate) listener: String,
    pub(crate) tls_version: String,
    pub(crate) since: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ClosedSessionsAnswer {
    pub(crate) closed: u64,
    pub(crate) anonymous_nodes: Vec<String>,
    pub(crate) silent_nodes: Vec<String>,
}
