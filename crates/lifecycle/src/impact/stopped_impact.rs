use serde::{Deserialize, Serialize};

use super::verdict::Impact;

/// Hosts that are named.
const HOSTS_MAX: usize = 20;

/// What an alert says of the impact that stopped a change: stored with the alert, and sent. Devices
/// are counted, not named: names are personal data, and alerts are kept for longer than devices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoppedImpact {
    severity: String,
    pub(super) connected: RefusedCount,
    pub(super) known: RefusedCount,
    /// The first 20.
    hosts_lost: Vec<String>,
    hosts_lost_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    root_changed: Option<FromTo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_kind_changed: Option<KeyKindFromTo>,
    /// Why it is severe, as [`Impact::severe_reasons`] has it.
    pub(super) reasons: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RefusedCount {
    pub(super) refused: u64,
    pub(super) of: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FromTo {
    from: String,
    to: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct KeyKindFromTo {
    from: String,
    to: String,
    /// 0 to 1.
    share: f64,
}

impl From<&Impact> for StoppedImpact {
    fn from(impact: &Impact) -> Self {
        let root_changed = impact.root_changed.as_ref();
        let key_kind_changed = impact.key_kind_changed.as_ref();
        Self {
            severity: impact.severity.as_str().to_owned(),
            connected: RefusedCount { refused: impact.connected.refused, of: impact.connected.of },
            known: RefusedCount { refused: impact.known.refused, of: impact.known.of },
            hosts_lost: impact.hosts_lost.iter().take(HOSTS_MAX).cloned().collect(),
            hosts_lost_count: impact.hosts_lost.len(),
            root_changed: root_changed
                .map(|change| FromTo { from: change.from.clone(), to: change.to.clone() }),
            key_kind_changed: key_kind_changed.map(|change| KeyKindFromTo {
                from: change.from.clone(),
                to: change.to.clone(),
                share: change.share(),
            }),
            reasons: impact.severe_reasons(),
        }
    }
}
