use certward_pki::{Material, NoWayIn};
use certward_store::{Deployment, DeploymentId, Timestamp};

/// Would this be served? Implemented by the gateway, which really builds the configuration; no I/O.
pub trait Rehearsal: Send + Sync + std::fmt::Debug + 'static {
    /// Builds the server configuration and throws it away.
    ///
    /// # Errors
    /// Why it cannot be served, in one plain sentence that holds nothing secret.
    fn rehearse(&self, material: &Material) -> Result<(), String>;
}

/// What this node knows about itself. Implemented by the gateway.
pub trait NodeView: Send + Sync + std::fmt::Debug + 'static {
    /// Whether the node accepts connections and has its index of hosts complete.
    fn ready(&self) -> bool;

    /// Whether a device can reach the deployment through a listener of this node: by a host, a bound listener or as
    /// the default deployment.
    ///
    /// # Errors
    /// Why it cannot.
    fn way_in(&self, deployment: &Deployment) -> Result<(), NoWayIn>;

    /// How many devices are connected to the deployment through this node.
    fn connections(&self, deployment: &DeploymentId) -> u64;

    /// The newest failed handshakes of the deployment, newest first; bounded.
    fn recent_failures(&self, deployment: &DeploymentId) -> Vec<FailedHandshake>;
}

/// A handshake that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedHandshake {
    /// When.
    pub at: Timestamp,
    /// From where.
    pub peer: std::net::SocketAddr,
    /// The cause, from a closed list, for example `certificate_required`.
    pub cause: &'static str,
    /// What that means, in one sentence.
    pub meaning: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
    /// The server name that the device sent (SNI): at most 253 letters, digits, `-`, `_` and `.`.
    pub server_name: Option<Box<str>>,
    /// `1.2` or `1.3`, once it was agreed on.
    pub tls_version: Option<&'static str>,
    /// What came, where the cause alone does not say it, for example `MQTT level 6`; at most 64 characters.
    pub detail: Option<Box<str>>,
}
