use serde::Deserialize;

/// What ends: a certificate or an API key.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct EndingAnswer {
    pub(crate) kind: String,
    pub(crate) subject: String,
    #[serde(rename = "deploymentID")]
    pub(crate) deployment_id: Option<String>,
    pub(crate) api_key: Option<String>,
    #[serde(rename = "nodeID")]
    pub(crate) node_id: Option<String>,
    pub(crate) begin: String,
    pub(crate) expire: String,
    pub(crate) breaks: String,
}

impl EndingAnswer {
    /// The deployment, API key or node.
    pub(crate) fn owner(&self) -> &str {
        [&self.deployment_id, &self.api_key, &self.node_id].into_iter().flatten().next().map_or("", |id| id)
    }
}
