use certward_pki::{Finding, TlsType};

use crate::{DeploymentId, Generation, Timestamp, TrustScope};

/// An accepted upload, without its private key: that is sealed in a column of its own, read by
/// [`crate::Store::private_key`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The deployment it was uploaded for.
    pub deployment: DeploymentId,
    /// The generation at which it was accepted: its name.
    pub version: Generation,
    /// One-way or two-way.
    pub tls_type: TlsType,
    /// The chain as served, DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The client CAs, DER; empty exactly for one-way.
    pub client_cas: Vec<Vec<u8>>,
    /// The trust scope of its session tickets.
    pub trust_scope: TrustScope,
    /// The leaf's common name.
    pub common_name: Option<String>,
    /// The leaf's notAfter.
    pub not_after: Timestamp,
    /// The findings it was accepted with.
    pub findings: Vec<Finding>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// Whether every counted node proved it once: only such a version is a fallback.
    pub proven: bool,
}
