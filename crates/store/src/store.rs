use std::{path::PathBuf, sync::Arc};

use certward_pki::PrivateKey;
use zeroize::Zeroizing;

use crate::{
    Admission, ApiKey, ApiKeyRecord, AuditRecord, Clock, Count, Deployment, DeploymentId, FeedEntry,
    Generation, MasterKey, Method, NodeRecord, Project, ProjectId, RequestLimit, StoreError, Timestamp, Tx,
    Version,
};

/// Where the store is.
#[derive(Debug, Clone)]
pub enum Address {
    /// An embedded SQLite database in this folder (made with mode 0700 if missing).
    Embedded(PathBuf),
    /// PostgreSQL at this `postgres://` URL (it may hold a password: never printed).
    Postgres(Zeroizing<String>),
}

/// The store, cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    clock: Arc<dyn Clock>,
}

impl Store {
    /// Makes the schema and the master key's check value in an empty store, then opens it.
    /// Opens a store that `init` made.
    ///
    /// # Errors
    /// [`StoreError::NotInitialised`], [`StoreError::WrongMasterKey`], [`StoreError::InUse`],
    /// [`StoreError::TooNew`], [`StoreError::Unavailable`].
    pub async fn open(
        _address: &Address,
        _master_key: &MasterKey,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        Ok(Self { clock })
    }

    /// Makes the schema, the `default` project and the master key's check value in an empty store, and opens it.
    /// A store that is there already is left as it is.
    ///
    /// # Errors
    /// As [`Store::open`]; a store made with another key is [`StoreError::WrongMasterKey`].
    pub async fn init(
        _address: &Address,
        _master_key: &MasterKey,
        _clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        todo!("store")
    }

    /// Whether a store is there, made by `init`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::InUse`].
    pub async fn is_initialised(_address: &Address) -> Result<bool, StoreError> {
        todo!("store")
    }

    /// The clock the store was opened with.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Begins a transaction that may write. On SQLite there is one writer at a time, and this waits for it (bounded:
    /// 5 s, then [`StoreError::Unavailable`]).
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        todo!("store")
    }

    /// Resolves when something was committed through this process, or another one where the engine tells.
    /// Only a wake-up: may come late, and may come for nothing. Register (call) it before reading the feed.
    pub async fn changed(&self) {
        todo!("store")
    }

    /// Counts a request of `key` with `method` on `subject` (a deployment id; empty for the neighbours), if it is
    /// within the limit. Exact under parallel requests, durable across a restart of the program; a refusal writes
    /// nothing. The time is taken under the lock.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn admit(
        &self,
        _key: &ApiKey,
        _subject: &str,
        _method: Method,
        _limit: RequestLimit,
    ) -> Result<Admission, StoreError> {
        todo!("store")
    }

    /// The API key, if there is one and the secret is its own. Takes the same time when it is unknown.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn authenticate(&self, _key: &str, _secret: &str) -> Result<Option<ApiKeyRecord>, StoreError> {
        todo!("store")
    }

    /// All API keys, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn api_keys(&self) -> Result<Vec<ApiKeyRecord>, StoreError> {
        todo!("store")
    }

    /// All projects by id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn projects(&self) -> Result<Vec<Project>, StoreError> {
        todo!("store")
    }

    /// All deployments by id, or those of some projects.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn deployments(&self, _projects: Option<&[ProjectId]>) -> Result<Vec<Deployment>, StoreError> {
        todo!("store")
    }

    /// One deployment.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn deployment(&self, _id: &DeploymentId) -> Result<Option<Deployment>, StoreError> {
        todo!("store")
    }

    /// Deployments in id order after `after`, at most `limit`: for a node that fills its index.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn deployments_after(
        &self,
        _after: Option<&DeploymentId>,
        _limit: u32,
    ) -> Result<Vec<Deployment>, StoreError> {
        todo!("store")
    }

    /// An accepted upload.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn version(
        &self,
        _deployment: &DeploymentId,
        _version: Generation,
    ) -> Result<Option<Version>, StoreError> {
        todo!("store")
    }

    /// The newest version older than `before` that every counted node once proved and whose key is still there:
    /// what to fall back to when a newer one cannot be served.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn last_proven_version(
        &self,
        _deployment: &DeploymentId,
        _before: Generation,
    ) -> Result<Option<Version>, StoreError> {
        todo!("store")
    }

    /// Opens the sealed key of a version; `None` when it is erased.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] when it does not open.
    pub async fn private_key(
        &self,
        _deployment: &DeploymentId,
        _version: Generation,
    ) -> Result<Option<PrivateKey>, StoreError> {
        todo!("store")
    }

    /// The newest generation drawn, `Generation(0)` in an empty store.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn newest_generation(&self) -> Result<Generation, StoreError> {
        todo!("store")
    }

    /// Feed rows after `after`, oldest first, at most `limit`. `None` when rows after it have been pruned already:
    /// the reader must read everything anew.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn feed_after(
        &self,
        _after: Generation,
        _limit: u32,
    ) -> Result<Option<Vec<FeedEntry>>, StoreError> {
        todo!("store")
    }

    /// The nodes whose lease lasts.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn live_nodes(&self) -> Result<Vec<NodeRecord>, StoreError> {
        todo!("store")
    }

    /// Who is counted for a deployment's newest change.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn counts(&self, _deployment: &DeploymentId) -> Result<Vec<Count>, StoreError> {
        todo!("store")
    }

    /// The newest audit records, newest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn audit(&self, _limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        todo!("store")
    }

    /// A sealed record of the program's own (ticket keys and the like), by name: read it, or make it with `make`
    /// when there is none yet. Two nodes that ask at once get the same.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn secret_or_insert(
        &self,
        _name: &str,
        _make: Zeroizing<Vec<u8>>,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        todo!("store")
    }

    /// Prunes the feed (older than 7 days), the audit (newest 100,000 kept) and the request log (older than its
    /// window). Called once in a while by one task of each node.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn prune(&self, _request_window: std::time::Duration) -> Result<(), StoreError> {
        todo!("store")
    }

    /// Whether the store answers and can write: for `/readyz`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn ping(&self) -> Result<(), StoreError> {
        todo!("store")
    }

    /// The time by the clock that leases are kept by: the database's on PostgreSQL.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn now(&self) -> Result<Timestamp, StoreError> {
        todo!("store")
    }

    /// Closes the connections; waits for those in use. On SQLite checkpoints the write-ahead log.
    pub async fn close(&self) {
        todo!("store")
    }
}
