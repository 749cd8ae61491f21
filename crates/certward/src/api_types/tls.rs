use serde::Deserialize;

use super::{finding::FindingAnswer, impact::ImpactAnswer};

/// All absent without a certificate.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct TlsAnswer {
    pub(crate) tls_type: Option<String>,
    pub(crate) expire: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) cn: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) warnings: Vec<FindingAnswer>,
    pub(crate) waiting_for: Vec<String>,
    pub(crate) left_out: Vec<String>,
    /// Of a change.
    pub(crate) impact: Option<ImpactAnswer>,
}

impl TlsAnswer {
    /// Set and not being deleted.
    pub(crate) fn is_set(&self) -> bool {
        self.status.as_deref().is_some_and(|status| status != "terminated")
    }

    pub(crate) fn is_settled(&self) -> bool {
        !matches!(self.status.as_deref(), Some("pending" | "terminated"))
    }
}
