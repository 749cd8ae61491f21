use serde::{Deserialize, Serialize};

use super::impact::ImpactAnswer;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ErrorAnswer {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) details: Vec<FindingAnswer>,
    /// Of `IMPACT_SEVERE`.
    pub(crate) impact: Option<ImpactAnswer>,
}

/// Text, since a newer server may send unknown codes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct FindingAnswer {
    pub(crate) code: String,
    pub(crate) severity: String,
    pub(crate) field: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) item: Option<FindingItem>,
    pub(crate) message: String,
    pub(crate) remedy: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct FindingItem {
    pub(crate) index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
}

impl From<&certward_pki::Finding> for FindingAnswer {
    fn from(finding: &certward_pki::Finding) -> Self {
        // Both have the same JSON form.
        serde_json::to_value(finding).and_then(serde_json::from_value).unwrap_or_default()
    }
}
