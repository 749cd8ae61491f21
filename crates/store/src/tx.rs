use certward_pki::{HostName, PrivateKey};
use thiserror::Error;

use crate::{
    ApiKey, ApiKeyRecord, ApiSecret, AuditEntry, Count, Deployment, DeploymentId, Generation, NodeId,
    NodeRecord, Project, ProjectId, Scope, StoreError, Timestamp, TlsState, Version,
};

/// A transaction that may write. Dropped without [`Tx::commit`], it leaves no trace.
///
/// Reads in it see its own writes. On PostgreSQL [`Tx::deployment`] locks the row (`FOR UPDATE`), so that two changes of a
/// deployment come one after the other; on SQLite there is one writer anyway.
#[derive(Debug)]
pub struct Tx {
    now: Timestamp,
}

/// A host is claimed already: by an equal one, or, from another project, by one that covers it or is covered by it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the host {0} is taken")]
pub struct HostTaken(pub HostName);

impl Tx {
    /// The time of this transaction: the database's own on PostgreSQL, the injected clock's on SQLite.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Makes it durable: on disk, fsync'd, when this returns.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; then nothing was changed, or (PostgreSQL, connection lost at that very moment) it
    /// is unknown.
    pub async fn commit(self) -> Result<(), StoreError> {
        todo!("store")
    }

    /// Draws the next generation and writes the feed row of a change of `deployment`.
    pub async fn draw_generation(&mut self, _deployment: &DeploymentId) -> Result<Generation, StoreError> {
        todo!("store")
    }

    /// Notes a change.
    pub async fn audit(&mut self, _entry: AuditEntry) -> Result<(), StoreError> {
        todo!("store")
    }

    /// One project.
    pub async fn project(&mut self, _id: &ProjectId) -> Result<Option<Project>, StoreError> {
        todo!("store")
    }

    /// Adds a project; `false` if its id exists.
    pub async fn insert_project(&mut self, _project: &Project) -> Result<bool, StoreError> {
        todo!("store")
    }

    /// Removes a project that has no deployment. Keys that see only it lose it and see nothing then.
    pub async fn remove_project(&mut self, _id: &ProjectId) -> Result<(), StoreError> {
        todo!("store")
    }

    /// How many deployments a project has.
    pub async fn deployments_in(&mut self, _project: &ProjectId) -> Result<u64, StoreError> {
        todo!("store")
    }

    /// One deployment, locked for this transaction.
    pub async fn deployment(&mut self, _id: &DeploymentId) -> Result<Option<Deployment>, StoreError> {
        todo!("store")
    }

    /// Adds a deployment and claims its hosts.
    pub async fn insert_deployment(
        &mut self,
        _deployment: &Deployment,
    ) -> Result<Result<(), HostTaken>, StoreError> {
        todo!("store")
    }

    /// Writes name, upstreams, hosts and generation of a deployment that exists (not its TLS state), claiming new hosts
    /// and freeing old ones.
    pub async fn update_deployment(
        &mut self,
        _deployment: &Deployment,
    ) -> Result<Result<(), HostTaken>, StoreError> {
        todo!("store")
    }

    /// Removes a deployment with its hosts, versions, sealed keys and counts.
    pub async fn remove_deployment(&mut self, _id: &DeploymentId) -> Result<(), StoreError> {
        todo!("store")
    }

    /// Writes where the certificate stands, and the deployment's generation.
    pub async fn set_tls(
        &mut self,
        _id: &DeploymentId,
        _generation: Generation,
        _tls: &TlsState,
    ) -> Result<(), StoreError> {
        todo!("store")
    }

    /// Keeps an accepted upload and its sealed key, and drops all but the newest 10 versions of the deployment.
    pub async fn insert_version(&mut self, _version: &Version, _key: &PrivateKey) -> Result<(), StoreError> {
        todo!("store")
    }

    /// An accepted upload.
    pub async fn version(
        &mut self,
        _deployment: &DeploymentId,
        _version: Generation,
    ) -> Result<Option<Version>, StoreError> {
        todo!("store")
    }

    /// Marks a version as proven by every counted node.
    pub async fn mark_proven(
        &mut self,
        _deployment: &DeploymentId,
        _version: Generation,
    ) -> Result<(), StoreError> {
        todo!("store")
    }

    /// Erases the sealed keys of all versions of a deployment.
    pub async fn erase_keys(&mut self, _deployment: &DeploymentId) -> Result<(), StoreError> {
        todo!("store")
    }

    /// Counts every live node for the newest change of a deployment, none of them proven; forgets who was counted
    /// before. Returns how many there are.
    pub async fn count_live_nodes(&mut self, _deployment: &DeploymentId) -> Result<u64, StoreError> {
        todo!("store")
    }

    /// Who is counted for a deployment's newest change.
    pub async fn counts(&mut self, _deployment: &DeploymentId) -> Result<Vec<Count>, StoreError> {
        todo!("store")
    }

    /// Notes what a counted node says: it has proven (or let go of) `generation`, or why it could not. A node that is not counted
    /// is not noted.
    pub async fn note_proof(
        &mut self,
        _deployment: &DeploymentId,
        _node: &NodeId,
        _proof: Result<Generation, String>,
    ) -> Result<(), StoreError> {
        todo!("store")
    }

    /// Gives a node a lease until `until`, and counts it for every pending, failed or terminated deployment where it is
    /// not counted yet, if it had no live lease before; returns whether that was so.
    pub async fn lease(&mut self, _node: &NodeId, _until: Timestamp) -> Result<bool, StoreError> {
        todo!("store")
    }

    /// Moves every pending deployment's deadline to `deadline` if it is earlier: a node that has just joined needs its time.
    pub async fn extend_deadlines(&mut self, _deadline: Timestamp) -> Result<(), StoreError> {
        todo!("store")
    }

    /// Ends a node's lease: it counts nowhere any more. Returns the unsettled deployments where it was counted.
    pub async fn end_lease(&mut self, _node: &NodeId) -> Result<Vec<DeploymentId>, StoreError> {
        todo!("store")
    }

    /// The nodes whose lease is over at [`Tx::now`].
    pub async fn expired_nodes(&mut self) -> Result<Vec<NodeRecord>, StoreError> {
        todo!("store")
    }

    /// Pending deployments whose deadline is over at [`Tx::now`], at most `limit`.
    pub async fn overdue(&mut self, _limit: u32) -> Result<Vec<DeploymentId>, StoreError> {
        todo!("store")
    }

    /// Makes an API key with a fresh secret.
    pub async fn insert_api_key(
        &mut self,
        _name: &str,
        _scopes: &[Scope],
        _projects: Option<&[ProjectId]>,
    ) -> Result<(ApiKeyRecord, ApiSecret), StoreError> {
        todo!("store")
    }

    /// One API key.
    pub async fn api_key(&mut self, _key: &ApiKey) -> Result<Option<ApiKeyRecord>, StoreError> {
        todo!("store")
    }

    /// How many keys with the scope `admin` and without a limit on projects there are; takes a lock, so that two revocations at once do
    /// not both see a second one.
    pub async fn admin_keys(&mut self) -> Result<u64, StoreError> {
        todo!("store")
    }

    /// Removes an API key.
    pub async fn remove_api_key(&mut self, _key: &ApiKey) -> Result<(), StoreError> {
        todo!("store")
    }
}
