use serde::{Deserialize, Serialize};

/// What an alert says of the impact that stopped a change: stored with the alert, and sent. Devices
/// are counted, not named: names are personal data, and alerts are kept for longer than devices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoppedImpact {
    pub(super) severity: String,
    pub(super) connected: RefusedCount,
    pub(super) known: RefusedCount,
    /// The first 20 hosts of the deployment: a name below a wildcard may be a device's.
    pub(super) hosts_lost: Vec<String>,
    pub(super) hosts_lost_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) root_changed: Option<FromTo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key_kind_changed: Option<KeyKindFromTo>,
    /// Why it is severe, as `Impact::severe_reasons` has it.
    pub(super) reasons: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RefusedCount {
    pub(super) refused: u64,
    pub(super) of: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FromTo {
    pub(super) from: String,
    pub(super) to: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct KeyKindFromTo {
    pub(super) from: String,
    pub(super) to: String,
    /// 0 to 1.
    pub(super) share: f64,
}
