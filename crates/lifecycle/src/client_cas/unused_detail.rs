use serde::{Deserialize, Serialize};

/// What an alert says of a client CA that no device uses: stored with the alert, and sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UnusedDetail {
    /// Of each of the CA's certificates among the client CAs, the alert's first.
    pub(super) fingerprints: Vec<String>,
    /// When a device of it was last seen: milliseconds since 1970.
    pub(super) last_seen_ms: i64,
}
