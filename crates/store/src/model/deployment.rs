use crate::{
    CloseRate, DeploymentId, DeploymentSpec, Generation, ProjectId, RevocationMark, Timestamp, TlsState,
};

/// One broker and its hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// Its project.
    pub project: ProjectId,
    /// Its settings.
    pub spec: DeploymentSpec,
    /// Creation time.
    pub created_at: Timestamp,
    /// Its first generation; 0 if an older release made it.
    pub born: Generation,
    /// Grows with every change, of its hosts too.
    pub generation: Generation,
    /// Its certificate's state.
    pub tls: TlsState,
    /// Its revocations and CRLs.
    pub revocations: RevocationMark,
    /// How fast each node ends the sessions that the newest change of them ends. `None`: at once.
    pub close_rate: Option<CloseRate>,
    /// How often `close_rate` was set: changes that leave it pace no session of their own.
    pub close_rate_number: i64,
}

/// An incarnation of a deployment: a later one of its id differs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeploymentRef {
    /// Its id.
    pub id: DeploymentId,
    /// Its project.
    pub project: ProjectId,
    /// See [`Deployment::born`].
    pub born: Generation,
}

impl Deployment {
    /// This incarnation.
    pub fn reference(&self) -> DeploymentRef {
        DeploymentRef { id: self.id.clone(), project: self.project.clone(), born: self.born }
    }
}

impl DeploymentRef {
    /// Whether `deployment` is this incarnation.
    pub fn means(&self, deployment: &Deployment) -> bool {
        *self == deployment.reference()
    }
}
