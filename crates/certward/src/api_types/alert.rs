use serde::Deserialize;

/// An alert channel. Some fields are of webhooks or of mail only.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ChannelAnswer {
    #[serde(rename = "channelID")]
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(rename = "projectID")]
    pub(crate) project_id: Option<String>,
    pub(crate) create_at: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Without its path, which may be a secret.
    pub(crate) url: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) security: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) to: Vec<String>,
    /// Of a new webhook only.
    pub(crate) secret: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AlertTestAnswer {
    pub(crate) delivered: bool,
    pub(crate) failure: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct AlertAnswer {
    pub(crate) at: String,
    /// Absent for a stopped change, as is `expire`.
    pub(crate) rule: Option<String>,
    pub(crate) kind: String,
    pub(crate) subject: String,
    pub(crate) api_key: Option<String>,
    pub(crate) expire: Option<String>,
    pub(crate) owners: Vec<String>,
    pub(crate) owner_count: usize,
    pub(crate) deliveries: Vec<DeliveryAnswer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DeliveryAnswer {
    pub(crate) state: String,
    pub(crate) attempts: u32,
    pub(crate) failure: Option<String>,
    pub(crate) status: Option<u16>,
}
