use serde::{Deserialize, Serialize};

/// What a change does to devices.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ImpactAnswer {
    pub(crate) severity: String,
    pub(crate) connected: RefusedAnswer,
    pub(crate) known: RefusedAnswer,
    pub(crate) named: Vec<RejectedAnswer>,
    pub(crate) hosts_lost: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) root_changed: Option<RootChangeAnswer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_kind_changed: Option<KeyKindChangeAnswer>,
    pub(crate) as_of: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) silent_nodes: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RefusedAnswer {
    pub(crate) refused: u64,
    pub(crate) of: u64,
    /// Of known devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not_judged: Option<u64>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RejectedAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    pub(crate) reason: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RootChangeAnswer {
    pub(crate) from: String,
    pub(crate) to: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct KeyKindChangeAnswer {
    pub(crate) from: String,
    pub(crate) to: String,
    /// 0 to 1.
    pub(crate) share: f64,
}

impl ImpactAnswer {
    pub(crate) fn is_severe(&self) -> bool {
        self.severity == "severe"
    }
}
