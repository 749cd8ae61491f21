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
    shared::Inner,
};

/// A transaction that may write. Dropped without [`Tx::commit`], it leaves no trace.
///
/// Reads in it see its own writes. On PostgreSQL [`Tx::deployment`] locks the row (`FOR UPDATE`), so that two changes
/// of a deployment come one after the other; on SQLite there is one writer anyway.
///
/// So that no two transactions wait for each other: first the key in whose name the change is
/// ([`crate::Store::begin_as`], or [`crate::Store::begin_on_keys_as`] where keys change), then [`Tx::api_key`], then
/// [`Tx::project_to_remove`], then [`Tx::hold_nodes`] or [`Tx::hold_changes`], then deployments, then the
/// generation. `lock.rs` has the whole order.
///
/// After an error, or when a step was given up half-way, the transaction can only be dropped: every further step and
/// the commit are refused. (PostgreSQL would take the commit of a failed transaction for a rollback and say yes.)
///
/// # Errors
/// Every step may give [`StoreError::Unavailable`]; reading steps [`StoreError::Corrupt`] as well.
pub struct Tx {
    store: Arc<Inner>,
    transaction: Transaction<'static, Any>,
    now: Timestamp,
    /// The server that it is on, see [`pool::Engine::epoch`].
    epoch: u64,
    /// A step is under way or has failed.
    broken: bool,
    /// Something was written that others may wait for.
    wakes: bool,
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("now", &self.now).field("broken", &self.broken).finish_non_exhaustive()
    }
}

/// Carries out one step. Broken before it and whole after it, so that an error and a dropped future leave it broken.
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
        store: Arc<Inner>,
        transaction: Transaction<'static, Any>,
        now: Timestamp,
        epoch: u64,
    ) -> Self {
        Self { store, transaction, now, epoch, broken: false, wakes: false }
    }

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
        let Self { store, mut transaction, epoch, mut broken, wakes, .. } = self;
        // What is written to a server that has been replaced, nobody would ever see.
        if store.engine()?.epoch() != epoch {
            return Err(StoreError::unavailable("the database failed over meanwhile; try again"));
        }
        if wakes {
            step(&mut broken, listen::notify(&mut transaction, &store.voice)).await?;
        }
        step(&mut broken, async { Ok(transaction.commit().await?) }).await?;
        if wakes {
            store.changes.send_replace(());
        }
        Ok(())
    }

    /// Draws the next generation and writes the feed row of a change of `deployment`.
    pub async fn draw_generation(&mut self, deployment: &DeploymentId) -> Result<Generation, StoreError> {
        self.wakes = true;
        step(&mut self.broken, feed::draw(&mut self.transaction, deployment, self.now)).await
    }

    /// Notes a change.
    pub async fn audit(&mut self, entry: AuditEntry) -> Result<(), StoreError> {
        self.wakes = true;
        step(&mut self.broken, audit::note(&mut self.transaction, &entry, self.now)).await
    }

    /// One project, which stays until the end of the transaction.
    pub async fn project(&mut self, id: &ProjectId) -> Result<Option<Project>, StoreError> {
        step(&mut self.broken, project::find_kept(&mut self.transaction, id)).await
    }

    /// One project that is to be removed: nobody makes anything in it until the end of the transaction.
    pub async fn project_to_remove(&mut self, id: &ProjectId) -> Result<Option<Project>, StoreError> {
        step(&mut self.broken, project::find_to_remove(&mut self.transaction, id)).await
    }

    /// One project that is to be changed, by nobody else until the end of the transaction.
    pub async fn project_to_change(&mut self, id: &ProjectId) -> Result<Option<Project>, StoreError> {
        step(&mut self.broken, project::find_to_change(&mut self.transaction, id)).await
    }

    /// Writes name and description of a project that exists.
    pub async fn set_project_texts(&mut self, project: &Project) -> Result<(), StoreError> {
        self.wakes = true;
        step(&mut self.broken, project::update_texts(&mut self.transaction, project)).await
    }

    /// Gives a project of this transaction its boundary, if it may have it, with a row of the feed.
    pub async fn set_boundary(
        &mut self,
        id: &ProjectId,
        boundary: &Boundary,
    ) -> Result<Result<(), SuffixRefused>, StoreError> {
        self.wakes = true;
        step(&mut self.broken, boundary::set(&mut self.transaction, id, boundary, self.now)).await
    }

    /// The boundary of a project. Until the end of the transaction no boundary changes, and nobody else claims hosts or upstream
    /// addresses. After deployments and the generation.
    pub async fn boundary(&mut self, project: &ProjectId) -> Result<Boundary, StoreError> {
        step(&mut self.broken, boundary::held_to(&mut self.transaction, project)).await
    }

    /// Whether another project's suffix covers the host, or is covered by it.
    pub async fn is_under_anothers_suffix(
        &mut self,
        host: &HostName,
        project: &ProjectId,
    ) -> Result<bool, StoreError> {
        step(&mut self.broken, boundary::is_anothers(&mut self.transaction, host, project)).await
    }

    /// The first of these upstreams whose address a deployment of another project uses.
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

    /// Removes a project that has no deployment. Keys that see only it lose it and see nothing then.
    pub async fn remove_project(&mut self, id: &ProjectId) -> Result<(), StoreError> {
        self.wakes = true;
        step(&mut self.broken, project::remove(&mut self.transaction, id)).await
    }

    /// As [`Tx::deployments_in`], for one that wants to make one more: until the end of the transaction nobody else does. After
    /// the generation.
    pub async fn deployments_in_for_one_more(&mut self, project: &ProjectId) -> Result<u64, StoreError> {
        step(&mut self.broken, async {
            lock::hosts(&mut self.transaction).await?;
            project::deployments_in(&mut self.transaction, project).await
        })
        .await
    }

    /// How many deployments a project has.
    pub async fn deployments_in(&mut self, project: &ProjectId) -> Result<u64, StoreError> {
        step(&mut self.broken, project::deployments_in(&mut self.transaction, project)).await
    }

    /// One deployment, locked for this transaction.
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

    /// Writes name, upstreams, hosts and generation of a deployment that exists (not its TLS state), claiming new hosts
    /// and freeing old ones.
    pub async fn update_deployment(
        &mut self,
        deployment: &Deployment,
    ) -> Result<Result<(), HostTaken>, StoreError> {
        self.wakes = true;
        step(&mut self.broken, deployment::update(&mut self.transaction, deployment)).await
    }

    /// Removes a deployment with its hosts, versions, sealed keys and counts.
    pub async fn remove_deployment(&mut self, id: &DeploymentId) -> Result<(), StoreError> {
        self.wakes = true;
        step(&mut self.broken, deployment::remove(&mut self.transaction, id)).await
    }

    /// Writes where the certificate stands, and the deployment's generation.
    pub async fn set_tls(
        &mut self,
        id: &DeploymentId,
        generation: Generation,
        tls: &TlsState,
    ) -> Result<(), StoreError> {
        self.wakes = true;
        step(&mut self.broken, deployment::set_tls(&mut self.transaction, id, generation, tls)).await
    }

    /// Keeps an accepted upload and its sealed key, and drops all but the newest 10 versions of the deployment.
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

    /// Marks a version as proven by every counted node.
    pub async fn mark_proven(
        &mut self,
        deployment: &DeploymentId,
        version: VersionId,
    ) -> Result<(), StoreError> {
        self.wakes = true;
        step(&mut self.broken, version::mark_proven(&mut self.transaction, deployment, version)).await
    }

    /// Erases the sealed keys of all versions of a deployment.
    pub async fn erase_keys(&mut self, deployment: &DeploymentId) -> Result<(), StoreError> {
        self.wakes = true;
        step(&mut self.broken, version::erase_keys(&mut self.transaction, deployment)).await
    }

    /// Counts every node that has a lease for the newest change of a deployment, none of them proven; forgets who was
    /// counted before. Returns how many there are.
    pub async fn count_nodes(&mut self, deployment: &DeploymentId) -> Result<u64, StoreError> {
        self.wakes = true;
        step(&mut self.broken, node::count_nodes(&mut self.transaction, deployment)).await
    }

    /// Who is counted for a deployment's newest change.
    pub async fn counts(&mut self, deployment: &DeploymentId) -> Result<Vec<RequiredProof>, StoreError> {
        step(&mut self.broken, node::counts(&mut self.transaction, deployment)).await
    }

    /// Notes what a counted node says: it has proven (or let go of) `generation`, or why it could not. A node that is not counted
    /// is not noted.
    pub async fn record_proof(
        &mut self,
        deployment: &DeploymentId,
        node: &NodeId,
        proof: Result<Generation, String>,
    ) -> Result<(), StoreError> {
        self.wakes = true;
        step(&mut self.broken, node::record_proof(&mut self.transaction, deployment, node, proof)).await
    }

    /// No node joins, leaves or changes its session until the end of the transaction, and nobody else changes a
    /// deployment: to be called before anything else is locked.
    pub async fn hold_nodes(&mut self) -> Result<(), StoreError> {
        step(&mut self.broken, lock::nodes_change(&mut self.transaction)).await
    }

    /// As [`Tx::hold_nodes`], for a node that joins: given up after a quarter of a second. Returns the newest row of the
    /// feed, which stays the newest until the end of the transaction.
    pub async fn hold_changes(&mut self) -> Result<FeedPosition, StoreError> {
        step(&mut self.broken, async {
            lock::nodes_change_soon(&mut self.transaction).await?;
            feed::newest_position(&mut self.transaction).await
        })
        .await
    }

    /// The session in the node's row; `None`: the node does not count.
    pub async fn session(&mut self, node: &NodeId) -> Result<Option<Session>, StoreError> {
        step(&mut self.broken, node::session(&mut self.transaction, node)).await
    }

    /// Puts another session into the node's row, if there is one. After [`Tx::hold_nodes`].
    pub async fn set_session(&mut self, node: &NodeId, session: Session) -> Result<(), StoreError> {
        step(&mut self.broken, node::set_session(&mut self.transaction, node, session)).await
    }

    /// What the node has proven of pending, failed or terminated deployments counts no longer. After
    /// [`Tx::hold_nodes`].
    pub async fn forget_proofs(&mut self, node: &NodeId) -> Result<(), StoreError> {
        step(&mut self.broken, node::forget_proofs(&mut self.transaction, node)).await
    }

    /// What the node has proven of one deployment counts no longer.
    pub async fn forget_proof(&mut self, deployment: &DeploymentId, node: &NodeId) -> Result<(), StoreError> {
        step(&mut self.broken, node::forget_proof(&mut self.transaction, deployment, node)).await
    }

    /// The node counts from now on: for every pending, failed or terminated deployment as well, none of them proven.
    /// After [`Tx::hold_changes`].
    pub async fn join(
        &mut self,
        node: &NodeId,
        session: Session,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        self.wakes = true;
        step(&mut self.broken, node::join(&mut self.transaction, node, session, self.now, until)).await
    }

    /// Removes the node's row, if it is of this session: it counts nowhere any more. Returns the unsettled deployments
    /// where it was counted. After [`Tx::hold_nodes`].
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

    /// Ends the leases that have run out, and gives for each of the nodes the unsettled deployments where it was
    /// counted. Takes [`Tx::hold_nodes`] only where there is one.
    pub async fn end_expired(&mut self) -> Result<Vec<(NodeId, Vec<DeploymentId>)>, StoreError> {
        step(&mut self.broken, async {
            if !node::some_expired(&mut self.transaction, self.now).await? {
                return Ok(Vec::new());
            }
            lock::nodes_change(&mut self.transaction).await?;
            // Again, under the lock: a node may have renewed while it was waited for.
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

    /// Whether the store's history has this row: what was read at it is still true of the store's past. A row that is
    /// pruned counts as none.
    pub async fn has(&mut self, position: FeedPosition) -> Result<bool, StoreError> {
        let ancestry = step(&mut self.broken, feed::ancestry(&mut self.transaction, position)).await?;
        Ok(ancestry == feed::Ancestry::Own)
    }

    /// See [`crate::Store::hear_process`].
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

    /// See [`crate::Store::forget_process`].
    pub(crate) async fn forget_process(mut self, node: &NodeId) -> Result<(), StoreError> {
        step(&mut self.broken, node_process::forget(&mut self.transaction, node)).await?;
        self.commit().await
    }

    /// Moves the deadline of every pending deployment to `deadline`, if it is earlier: a node that has just joined is
    /// given its time.
    pub async fn extend_deadlines(&mut self, deadline: Timestamp) -> Result<(), StoreError> {
        step(&mut self.broken, deployment::extend_deadlines(&mut self.transaction, deadline)).await
    }

    /// Pending deployments whose deadline is over at [`Tx::now`], at most `limit`.
    pub async fn overdue(&mut self, limit: u32) -> Result<Vec<DeploymentId>, StoreError> {
        step(&mut self.broken, deployment::overdue(&mut self.transaction, self.now, limit)).await
    }

    /// Makes an API key with a fresh secret.
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

    /// The key as it is now; who changes it waits until the end of the transaction.
    pub(crate) async fn acting_key(&mut self, key: &ApiKey) -> Result<Option<ApiKeyRecord>, StoreError> {
        step(&mut self.broken, api_key::find_kept(&mut self.transaction, key)).await
    }

    /// Changes of API keys wait until the end of the transaction.
    pub(crate) async fn lock_api_keys(&mut self) -> Result<(), StoreError> {
        step(&mut self.broken, lock::api_keys(&mut self.transaction)).await
    }

    /// One API key that is to be changed or removed, locked for this transaction.
    pub async fn api_key(&mut self, key: &ApiKey) -> Result<Option<ApiKeyRecord>, StoreError> {
        step(&mut self.broken, api_key::find_to_change(&mut self.transaction, key)).await
    }

    /// How many keys with the scope `admin` and without a limit on projects there are; takes a lock, so that two revocations at once do
    /// not both see a second one.
    pub async fn admin_keys(&mut self) -> Result<u64, StoreError> {
        step(&mut self.broken, api_key::admins(&mut self.transaction)).await
    }

    /// Removes an API key.
    pub async fn remove_api_key(&mut self, key: &ApiKey) -> Result<(), StoreError> {
        self.wakes = true;
        step(&mut self.broken, api_key::remove(&mut self.transaction, key)).await
    }

    /// Keeps a sealed record unless there is one of this name, commits, and gives the one that is kept.
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

    /// The removal of records of the program's own; commits. How many there were.
    pub(crate) async fn remove_secrets(mut self, from: &str, before: &str) -> Result<u64, StoreError> {
        let removed = step(&mut self.broken, secret::remove(&mut self.transaction, from, before)).await?;
        self.commit().await?;
        Ok(removed)
    }
}
