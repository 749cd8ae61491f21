use std::{fmt, sync::Arc};

use certward_pki::{HostName, PrivateKey};
use sqlx::{Any, Transaction};
use zeroize::Zeroizing;

use crate::{
    ApiKey, ApiKeyRecord, ApiSecret, AuditEntry, Boundary, Deployment, DeploymentId, FeedPosition,
    Generation, HostTaken, NodeId, NodeProcess, Project, ProjectId, RequiredProof, Scope, Session,
    StoreError, SuffixRefused, Timestamp, TlsState, Upstream, Version, VersionId,
    engine::{lock, pool},
    postgres::listen,
    repo::{
        api_key, audit, boundary, deployment, feed, node, node_process, project, upstream_claim, version,
    },
    sealed::secret,
    shared::StoreInner,
};

/// A write transaction. Dropped without [`Tx::commit`], it leaves no trace.
///
/// On PostgreSQL [`Tx::deployment`] locks the row, which serialises changes of a deployment.
///
/// Lock order, against deadlocks (`lock.rs` has all of it): the acting key
/// ([`crate::Store::begin_as`], or [`crate::Store::begin_on_keys_as`] to change keys),
/// [`Tx::api_key`], [`Tx::project_to_remove`], [`Tx::hold_nodes`] or [`Tx::hold_changes`],
/// deployments, the generation.
///
/// After an error or a cancelled step, every further step and the commit are refused. (PostgreSQL
/// would answer the commit with a successful rollback.)
///
/// # Errors
/// Every step: [`StoreError::Unavailable`]; reads also [`StoreError::Corrupt`].
pub struct Tx {
    store: Arc<StoreInner>,
    transaction: Transaction<'static, Any>,
    now: Timestamp,
    epoch: u64,
    broken: bool,
    wakes: bool,
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("now", &self.now).field("broken", &self.broken).finish_non_exhaustive()
    }
}

/// `broken` is set before and cleared after: an error or a dropped future leaves it set.
async fn step<T>(
    broken: &mut bool,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    if std::mem::replace(broken, true) {
        return Err(StoreError::unavailable("the transaction has failed already"));
    }
    let value = pool::step(work).await?;
    *broken = false;
    Ok(value)
}

impl Tx {
    pub(crate) fn new(
        store: Arc<StoreInner>,
        transaction: Transaction<'static, Any>,
        now: Timestamp,
        epoch: u64,
    ) -> Self {
        Self { store, transaction, now, epoch, broken: false, wakes: false }
    }

    /// The transaction's time: PostgreSQL's own, or the injected clock's on SQLite.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Commits; on disk, fsync'd, when this returns.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: nothing was changed, or (PostgreSQL, connection lost during the
    /// commit) it is unknown.
    pub async fn commit(self) -> Result<(), StoreError> {
        let Self { store, mut transaction, epoch, mut broken, wakes, .. } = self;
        // A write to a replaced server would be lost.
        if store.engine()?.epoch() != epoch {
            return Err(StoreError::unavailable("the database failed over during the change; try again"));
        }
        if wakes {
            step(&mut broken, listen::notify(&mut transaction, &store.notify_source)).await?;
        }
        step(&mut broken, async { Ok(transaction.commit().await?) }).await?;
        if wakes {
            store.changes.send_replace(());
        }
        Ok(())
    }

    /// Draws the next generation, with the deployment's feed row.
    pub async fn draw_generation(&mut self, deployment: &DeploymentId) -> Result<Generation, StoreError> {
        self.wakes = true;
        step(&mut self.broken, feed::draw(&mut self.transaction, deployment, self.now)).await
    }

    /// Appends to the audit.
    pub async fn audit(&mut self, entry: AuditEntry) -> Result<(), StoreError> {
        self.wakes = true;
        step(&mut self.broken, audit::note(&mut self.transaction, &entry, self.now)).await
    }

    /// A project, kept from removal by this transaction.
    pub async fn project(&mut self, id: &ProjectId) -> Result<Option<Project>, StoreError> {
        step(&mut self.broken, project::find_kept(&mut self.transaction, id)).await
    }

    /// A project to remove, locked against new content.
    pub async fn project_to_remove(&mut self, id: &ProjectId) -> Result<Option<Project>, StoreError> {
        step(&mut self.broken, project::find_to_remove(&mut self.transaction, id)).await
    }

    /// A project to change, locked.
    pub async fn project_to_change(&mut self, id: &ProjectId) -> Result<Option<Project>, StoreError> {
        step(&mut self.broken, project::find_to_change(&mut self.transaction, id)).await
    }

    /// Updates name and description of a project.
    pub async fn set_project_texts(&mut self, project: &Project) -> Result<(), StoreError> {
        self.wakes = true;
        step(&mut self.broken, project::update_texts(&mut self.transaction, project)).await
    }

    /// Sets a project's boundary, if allowed, with a row of the feed.
    pub async fn set_boundary(
        &mut self,
        id: &ProjectId,
        boundary: &Boundary,
    ) -> Result<Result<(), SuffixRefused>, StoreError> {
        self.wakes = true;
        step(&mut self.broken, boundary::set(&mut self.transaction, id, boundary, self.now)).await
    }

    /// A project's boundary. Locks boundaries and claims of hosts and upstream addresses. After
    /// deployments and the generation.
    pub async fn boundary(&mut self, project: &ProjectId) -> Result<Boundary, StoreError> {
        step(&mut self.broken, boundary::held_to(&mut self.transaction, project)).await
    }

    /// Whether a foreign suffix covers the host, or is covered by it.
    pub async fn is_under_anothers_suffix(
        &mut self,
        host: &HostName,
        project: &ProjectId,
    ) -> Result<bool, StoreError> {
        step(&mut self.broken, boundary::is_anothers(&mut self.transaction, host, project)).await
    }

    /// The first upstream that another project uses.
    pub async fn taken_upstream(
        &mut self,
        upstreams: &[&Upstream],
        project: &ProjectId,
    ) -> Result<Option<Upstream>, StoreError> {
        let addresses = upstreams.iter().map(|upstream| upstream.claimed()).collect();
        let taken =
            step(&mut self.broken, upstream_claim::taken(&mut self.transaction, addresses, project)).await?;
        let is_taken = |upstream: &&&Upstream| taken.contains(&upstream.claimed());
        Ok(upstreams.iter().find(is_taken).map(|upstream| (*upstream).clone()))
    }

    /// Adds a project; `false` if its id exists.
    pub async fn insert_project(&mut self, project: &Project) -> Result<bool, StoreError> {
        self.wakes = true;
        step(&mut self.broken, project::insert(&mut self.transaction, project)).await
    }

    /// Removes a project without deployments. A key limited to it alone then sees nothing.
    pub async fn remove_project(&mut self, id: &ProjectId) -> Result<(), StoreError> {
        self.wakes = true;
        step(&mut self.broken, project::remove(&mut self.transaction, id)).await
    }

    /// As [`Tx::deployments_in`], locked to add one. After the generation.
    pub async fn deployments_in_for_one_more(&mut self, project: &ProjectId) -> Result<u64, StoreError> {
        step(&mut self.broken, async {
            lock::hosts(&mut self.transaction).await?;
            project::deployments_in(&mut self.transaction, project).await
        })
        .await
    }

    /// The number of a project's deployments.
    pub async fn deployments_in(&mut self, project: &ProjectId) -> Result<u64, StoreError> {
        step(&mut self.broken, project::deployments_in(&mut self.transaction, project)).await
    }

    /// One deployment, locked.
    pub async fn deployment(&mut self, id: &DeploymentId) -> Result<Option<Deployment>, StoreError> {
        step(&mut self.broken, deployment::find_locked(&mut self.transaction, id)).await
    }

    /// Adds a deployment and claims its hosts.
    pub async fn insert_deployment(
        &mut self,
        deployment: &Deployment,
    ) -> Result<Result<(), HostTaken>, StoreError> {
        self.wakes = true;
        step(&mut self.broken, deployment::insert(&mut self.transaction, deployment)).await
    }

    /// Updates name, upstreams, hosts and generation (not the TLS state).
    pub async fn update_deployment(
        &mut self,
        deployment: &Deployment,
    ) -> Result<Result<(), HostTaken>, StoreError> {
        self.wakes = true;
        step(&mut self.broken, deployment::update(&mut self.transaction, deployment)).await
    }

    /// Removes a deployment with all that belongs to it.
    pub async fn remove_deployment(&mut self, id: &DeploymentId) -> Result<(), StoreError> {
        self.wakes = true;
        step(&mut self.broken, deployment::remove(&mut self.transaction, id)).await
    }

    /// Updates the TLS state and the generation.
    pub async fn set_tls(
        &mut self,
        id: &DeploymentId,
        generation: Generation,
        tls: &TlsState,
    ) -> Result<(), StoreError> {
        self.wakes = true;
        step(&mut self.broken, deployment::set_tls(&mut self.transaction, id, generation, tls)).await
    }

    /// Stores an upload and its sealed key; keeps the deployment's newest 10 versions.
    pub async fn insert_version(&mut self, version: &Version, key: &PrivateKey) -> Result<(), StoreError> {
        self.wakes = true;
        step(&mut self.broken, version::insert(&mut self.transaction, &self.store.sealer, version, key)).await
    }

    /// An accepted upload.
    pub async fn version(
        &mut self,
        deployment: &DeploymentId,
        version: VersionId,
    ) -> Result<Option<Version>, StoreError> {
        step(&mut self.broken, version::find(&mut self.transaction, deployment, version)).await
    }

    /// Marks a version as proven by all counted nodes.
    pub async fn mark_proven(
        &mut self,
        deployment: &DeploymentId,
        version: VersionId,
    ) -> Result<(), StoreError> {
        self.wakes = true;
        step(&mut self.broken, version::mark_proven(&mut self.transaction, deployment, version)).await
    }

    /// Erases all sealed keys of a deployment.
    pub async fn erase_keys(&mut self, deployment: &DeploymentId) -> Result<(), StoreError> {
        self.wakes = true;
        step(&mut self.broken, version::erase_keys(&mut self.transaction, deployment)).await
    }

    /// Counts all nodes with a lease for a deployment's newest change, unproven. Returns their
    /// number.
    pub async fn count_nodes(&mut self, deployment: &DeploymentId) -> Result<u64, StoreError> {
        self.wakes = true;
        step(&mut self.broken, node::count_nodes(&mut self.transaction, deployment)).await
    }

    /// The nodes counted for a deployment's newest change.
    pub async fn counts(&mut self, deployment: &DeploymentId) -> Result<Vec<RequiredProof>, StoreError> {
        step(&mut self.broken, node::counts(&mut self.transaction, deployment)).await
    }

    /// Records a counted node's report: it proved (or removed) `generation`, or why it could not.
    pub async fn record_proof(
        &mut self,
        deployment: &DeploymentId,
        node: &NodeId,
        proof: Result<Generation, String>,
    ) -> Result<(), StoreError> {
        self.wakes = true;
        step(&mut self.broken, node::record_proof(&mut self.transaction, deployment, node, proof)).await
    }

    /// Locks out changes of nodes, sessions and deployments. Before any deployment is locked.
    pub async fn hold_nodes(&mut self) -> Result<(), StoreError> {
        step(&mut self.broken, lock::nodes_change(&mut self.transaction)).await
    }

    /// As [`Tx::hold_nodes`], for a joining node: fails after 250 ms. Returns the newest feed row,
    /// which stays the newest.
    pub async fn hold_changes(&mut self) -> Result<FeedPosition, StoreError> {
        step(&mut self.broken, async {
            lock::nodes_change_soon(&mut self.transaction).await?;
            feed::newest_position(&mut self.transaction).await
        })
        .await
    }

    /// The session in the node's row; `None`: not counted.
    pub async fn session(&mut self, node: &NodeId) -> Result<Option<Session>, StoreError> {
        step(&mut self.broken, node::session(&mut self.transaction, node)).await
    }

    /// Replaces the session in the node's row. After [`Tx::hold_nodes`].
    pub async fn set_session(&mut self, node: &NodeId, session: Session) -> Result<(), StoreError> {
        step(&mut self.broken, node::set_session(&mut self.transaction, node, session)).await
    }

    /// Discards the node's proofs of unsettled deployments. After [`Tx::hold_nodes`].
    pub async fn forget_proofs(&mut self, node: &NodeId) -> Result<(), StoreError> {
        step(&mut self.broken, node::forget_proofs(&mut self.transaction, node)).await
    }

    /// Discards the node's proof of one deployment.
    pub async fn forget_proof(&mut self, deployment: &DeploymentId, node: &NodeId) -> Result<(), StoreError> {
        step(&mut self.broken, node::forget_proof(&mut self.transaction, deployment, node)).await
    }

    /// Counts the node from now on, for unsettled deployments too. After [`Tx::hold_changes`].
    pub async fn join(
        &mut self,
        node: &NodeId,
        session: Session,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        self.wakes = true;
        step(&mut self.broken, node::join(&mut self.transaction, node, session, self.now, until)).await
    }

    /// Removes this session's row. Returns the unsettled deployments where the node was counted.
    /// After [`Tx::hold_nodes`].
    pub async fn leave(&mut self, node: &NodeId, session: Session) -> Result<Vec<DeploymentId>, StoreError> {
        self.wakes = true;
        step(&mut self.broken, async {
            if node::leave(&mut self.transaction, node, session).await? {
                node::uncount(&mut self.transaction, node).await
            } else {
                Ok(Vec::new())
            }
        })
        .await
    }

    /// Ends expired leases. Returns the nodes, each with the unsettled deployments where it was
    /// counted.
    pub async fn end_expired(&mut self) -> Result<Vec<(NodeId, Vec<DeploymentId>)>, StoreError> {
        step(&mut self.broken, async {
            if !node::some_expired(&mut self.transaction, self.now).await? {
                return Ok(Vec::new());
            }
            lock::nodes_change(&mut self.transaction).await?;
            // Again, under the lock: a node may have renewed.
            let engine = self.store.engine()?;
            let now = engine.now(&mut self.transaction, self.store.clock.as_ref()).await?;
            let mut ended = Vec::new();
            for node in node::remove_expired(&mut self.transaction, now).await? {
                let waited = node::uncount(&mut self.transaction, &node).await?;
                ended.push((node, waited));
            }
            self.wakes |= !ended.is_empty();
            Ok(ended)
        })
        .await
    }

    /// Whether the store's history has this row, unpruned.
    pub async fn has(&mut self, position: FeedPosition) -> Result<bool, StoreError> {
        let ancestry = step(&mut self.broken, feed::ancestry(&mut self.transaction, position)).await?;
        Ok(ancestry == feed::Ancestry::Own)
    }

    pub(crate) async fn hear_process(
        mut self,
        node: &NodeId,
        process: NodeProcess,
        since: Option<Timestamp>,
    ) -> Result<Timestamp, StoreError> {
        let (since, now) = (since.unwrap_or(self.now), self.now);
        step(&mut self.broken, node_process::hear(&mut self.transaction, node, process, since, now)).await?;
        self.commit().await?;
        Ok(since)
    }

    pub(crate) async fn forget_process(mut self, node: &NodeId) -> Result<(), StoreError> {
        step(&mut self.broken, node_process::forget(&mut self.transaction, node)).await?;
        self.commit().await
    }

    /// Moves earlier deadlines to `deadline`, for a joining node.
    pub async fn extend_deadlines(&mut self, deadline: Timestamp) -> Result<(), StoreError> {
        step(&mut self.broken, deployment::extend_deadlines(&mut self.transaction, deadline)).await
    }

    /// At most `limit` pending deployments past their deadline.
    pub async fn overdue(&mut self, limit: u32) -> Result<Vec<DeploymentId>, StoreError> {
        step(&mut self.broken, deployment::overdue(&mut self.transaction, self.now, limit)).await
    }

    /// Adds an API key with a new secret.
    pub async fn insert_api_key(
        &mut self,
        name: &str,
        scopes: &[Scope],
        projects: Option<&[ProjectId]>,
    ) -> Result<(ApiKeyRecord, ApiSecret), StoreError> {
        self.wakes = true;
        let pepper = self.store.pepper()?;
        step(
            &mut self.broken,
            api_key::insert(&mut self.transaction, pepper, name, scopes, projects, self.now),
        )
        .await
    }

    /// The current key, locked.
    pub(crate) async fn acting_key(&mut self, key: &ApiKey) -> Result<Option<ApiKeyRecord>, StoreError> {
        step(&mut self.broken, api_key::find_kept(&mut self.transaction, key)).await
    }

    pub(crate) async fn lock_api_keys(&mut self) -> Result<(), StoreError> {
        step(&mut self.broken, lock::api_keys(&mut self.transaction)).await
    }

    /// An API key to change or remove, locked.
    pub async fn api_key(&mut self, key: &ApiKey) -> Result<Option<ApiKeyRecord>, StoreError> {
        step(&mut self.broken, api_key::find_to_change(&mut self.transaction, key)).await
    }

    /// The number of `admin` keys without a project limit. Locks: concurrent revocations must not
    /// both see a second key.
    pub async fn admin_keys(&mut self) -> Result<u64, StoreError> {
        step(&mut self.broken, api_key::admins(&mut self.transaction)).await
    }

    /// Removes an API key.
    pub async fn remove_api_key(&mut self, key: &ApiKey) -> Result<(), StoreError> {
        self.wakes = true;
        step(&mut self.broken, api_key::remove(&mut self.transaction, key)).await
    }

    /// Returns the stored record.
    pub(crate) async fn keep_secret(
        mut self,
        name: &str,
        make: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let (sealer, now) = (&self.store.sealer, self.now);
        step(&mut self.broken, secret::insert(&mut self.transaction, sealer, name, make, now)).await?;
        let kept = step(&mut self.broken, secret::find(&mut self.transaction, sealer, name)).await?;
        self.commit().await?;
        kept.ok_or_else(|| StoreError::corrupt("a new sealed record is missing"))
    }

    pub(crate) async fn remove_secrets(mut self, from: &str, before: &str) -> Result<u64, StoreError> {
        let removed = step(&mut self.broken, secret::remove(&mut self.transaction, from, before)).await?;
        self.commit().await?;
        Ok(removed)
    }
}
