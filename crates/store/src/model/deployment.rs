use certward_pki::{HostName, Profile};

use crate::{
    ConnectionLimits, DeploymentId, Generation, ProjectId, Proxy, RecordBytes, Timestamp, TlsState,
    UpstreamList,
};

/// One broker and the hosts that lead to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// The project it belongs to.
    pub project: ProjectId,
    /// For people; may be empty.
    pub name: String,
    /// The broker's plain MQTT addresses.
    pub upstream: UpstreamList,
    /// The broker's plain WebSocket addresses, if it has one.
    pub ws_upstream: Option<UpstreamList>,
    /// The names that lead here by SNI, in the order given.
    pub hosts: Vec<HostName>,
    /// How strictly its uploads are judged.
    pub profile: Profile,
    /// What its broker is told of its devices.
    pub proxy: Proxy,
    /// How many devices each node lets in.
    pub limits: ConnectionLimits,
    /// The largest TLS record that its devices are sent.
    pub record_bytes: RecordBytes,
    /// When it was made.
    pub created_at: Timestamp,
    /// The generation of its creation; 0 where a release made it that did not keep it.
    pub born: Generation,
    /// Grows with every change of it, also of its hosts.
    pub generation: Generation,
    /// Where its certificate stands.
    pub tls: TlsState,
}

/// A deployment as a request means it: that very one, and no later one of the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentRef {
    /// Its id.
    pub id: DeploymentId,
    /// The project it belongs to.
    pub project: ProjectId,
    /// See [`Deployment::born`].
    pub born: Generation,
}

impl Deployment {
    /// This very deployment, for a change that comes later.
    pub fn reference(&self) -> DeploymentRef {
        DeploymentRef { id: self.id.clone(), project: self.project.clone(), born: self.born }
    }
}

impl DeploymentRef {
    /// Whether `deployment` is the one that is meant.
    pub fn means(&self, deployment: &Deployment) -> bool {
        *self == deployment.reference()
    }
}
