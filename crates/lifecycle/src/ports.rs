use certward_pki::{Material, NoEntryPoint};
use certward_store::{Deployment, DeploymentId, Timestamp};

/// Checks whether material can be served. Implemented by the gateway, in memory.
pub trait Rehearsal: Send + Sync + std::fmt::Debug + 'static {
    /// Makes trial handshakes in each TLS version.
    ///
    /// # Errors
    /// One plain sentence without secrets.
    fn rehearse(&self, material: &Material) -> Result<(), String>;
}

/// This node's view of itself. Implemented by the gateway.
pub trait NodeView: Send + Sync + std::fmt::Debug + 'static {
    /// Whether the node accepts, and can resolve every host.
    fn ready(&self) -> bool;

    /// Whether a device can reach the deployment through this node.
    fn entry_point(&self, deployment: &Deployment) -> Result<(), NoEntryPoint>;

    /// Connections through this node.
    fn connections(&self, deployment: &DeploymentId) -> u64;

    /// Newest first; bounded.
    fn recent_failures(&self, deployment: &DeploymentId) -> Vec<FailedHandshake>;
}

/// A failed handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedHandshake {
    /// When.
    pub at: Timestamp,
    /// The device's address.
    pub peer: std::net::SocketAddr,
    /// From a closed list, such as `certificate_required`.
    pub cause: &'static str,
    /// Its meaning, in one sentence.
    pub meaning: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// SNI: at most 253 letters, digits, `-`, `_` and `.`.
    pub server_name: Option<Box<str>>,
    /// `1.2` or `1.3`, once negotiated.
    pub tls_version: Option<&'static str>,
    /// Such as `MQTT level 6`; at most 64 characters.
    pub detail: Option<Box<str>>,
}
