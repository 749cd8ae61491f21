use std::{
    fmt, io,
    os::fd::OwnedFd,
    sync::{Arc, OnceLock},
    time::Duration,
};

use certward_pki::{HostName, PrivateKey};
use sqlx::{Any, Transaction, pool::PoolConnection};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::{
    Address, Admission, ApiKey, ApiKeyRecord, AuditRecord, Boundaries, Clock, Deployment, DeploymentId,
    FeedPage, FeedPosition, Generation, Listed, MasterKey, Method, NodeId, NodeProcess, NodeRecord, Project,
    ProjectId, Reading, Records, RequestLimit, RequiredProof, Session, Stamp, StatusCounts, StoreError,
    Timestamp, Tx, Upstream, UpstreamList, Version, VersionId,
    engine::{
        data_folder::DataFolder,
        pool::{Engine, step},
        row, schema,
    },
    postgres::listen::ChangeListener,
    repo::{
        api_key, audit, boundary, deployment, feed, host, node, node_process, project, request_log,
        status_counts, upstream_claim, version,
    },
    sealed::{sealing::Sealer, secret},
    shared::{Opened, StoreInner},
};

/// Older positions require a full read.
const FEED_RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Writers must not wait long.
const PRUNED_AT_ONCE: u32 = 5_000;
const CAUGHT_UP_AT_ONCE: u32 = 500;
/// Per run: 1,000,000 rows.
const PRUNES_MAX: u32 = 200;
/// Each reads its version, on a cold disk at 0.5 ms: 1 s, a fifth of the statement timeout.
const COUNTED_AT_ONCE: u32 = 2_000;
/// Readiness checks must not cost an fsync each.
const PING_CACHE_TIME: Duration = Duration::from_secs(1);

/// The store, cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<StoreInner>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engine = self.inner.opened.get().map(|opened| &opened.engine);
        f.debug_struct("Store").field("engine", &engine).finish_non_exhaustive()
    }
}

async fn bring_up_to_date(engine: &Engine) -> Result<(), StoreError> {
    if engine.version().await? == 0 {
        return Err(StoreError::NotInitialised);
    }
    engine.migrate_requests().await?;
    engine.migrate_store().await
}

impl Store {
    /// Opens and migrates a store made by [`Store::init`].
    ///
    /// # Errors
    /// [`StoreError::NotInitialised`], [`StoreError::WrongMasterKey`], [`StoreError::InUse`],
    /// [`StoreError::TooNew`], [`StoreError::Unavailable`].
    pub async fn open(
        address: &Address,
        master_key: &MasterKey,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        Self::open_on(Engine::open(address, false).await?, master_key, clock).await
    }

    /// As [`Store::open`], while another process holds the folder and is about to hand it over, see
    /// [`Store::adopt_folder`]. SQLite allows both.
    ///
    /// # Errors
    /// As [`Store::open`], except [`StoreError::InUse`].
    pub async fn open_beside(
        address: &Address,
        master_key: &MasterKey,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        Self::open_on(Engine::open_beside(address).await?, master_key, clock).await
    }

    async fn open_on(
        engine: Engine,
        master_key: &MasterKey,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        bring_up_to_date(&engine).await?;
        Self::with(engine, Sealer::new(master_key), clock).await
    }

    /// An unreachable store: every call is [`StoreError::Unavailable`] until [`Store::reach`]
    /// succeeds.
    pub fn away(address: Address, master_key: &MasterKey, clock: Arc<dyn Clock>) -> Self {
        Self { inner: Arc::new(StoreInner::new(Some(address), Sealer::new(master_key), clock)) }
    }

    /// Whether it has not been reached yet.
    pub fn is_away(&self) -> bool {
        self.inner.opened.get().is_none()
    }

    /// Tries once to open and migrate a store that is [`Store::away`]. Once reached, it recovers by
    /// itself.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn reach(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.inner.reaching.lock().await;
        let Some(address) = self.inner.address.as_ref().filter(|_| self.inner.opened.get().is_none()) else {
            return Ok(());
        };
        let engine = Engine::open(address, false).await?;
        bring_up_to_date(&engine).await?;
        let opened = Opened::with(engine, &self.inner).await?;
        let _ = self.inner.opened.set(opened);
        self.inner.changes.send_replace(());
        Ok(())
    }

    /// Initialises an empty store with schema, `default` project and check value, and opens it. An
    /// existing store is unchanged.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn init(
        address: &Address,
        master_key: &MasterKey,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let engine = Engine::open(address, true).await?;
        engine.migrate_requests().await?;
        let sealer = Sealer::new(master_key);
        // Concurrent nodes initialise once.
        let mut tx = engine.begin().await?;
        schema::STORE.migrate(&mut tx).await?;
        if !secret::is_initialised(&mut tx).await? {
            let now = engine.now(&mut tx, clock.as_ref()).await?;
            secret::init(&mut tx, &sealer, now).await?;
            project::insert(&mut tx, &Project::default_at(now)).await?;
        }
        tx.commit().await?;
        Self::with(engine, sealer, clock).await
    }

    async fn with(engine: Engine, sealer: Sealer, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let inner = StoreInner::new(None, sealer, clock);
        let opened = Opened::with(engine, &inner).await?;
        let inner = StoreInner { opened: OnceLock::from(opened), ..inner };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether `init` has run.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::InUse`].
    pub async fn is_initialised(address: &Address) -> Result<bool, StoreError> {
        let engine = match Engine::open(address, false).await {
            Err(StoreError::NotInitialised) => return Ok(false),
            engine => engine?,
        };
        let initialised = async {
            if engine.version().await? == 0 {
                return Ok(false);
            }
            let mut conn = engine.read().await?;
            step(secret::is_initialised(&mut conn)).await
        };
        let initialised = initialised.await;
        engine.close().await;
        initialised
    }

    /// An embedded store's lock, for the successor.
    ///
    /// # Errors
    /// [`io::Error`], such as no free file descriptor.
    pub fn share_folder(&self) -> io::Result<Option<OwnedFd>> {
        self.folder().map_or(Ok(None), DataFolder::share_lock)
    }

    /// Releases the folder to another process; both may use the store.
    pub fn release_folder(&self) {
        if let Some(folder) = self.folder() {
            folder.release();
        }
    }

    /// Takes the folder after [`Store::open_beside`], with the lock handed over.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if it is not this folder's lock.
    pub fn adopt_folder(&self, lock: OwnedFd) -> Result<(), StoreError> {
        self.folder().map_or(Ok(()), |folder| folder.adopt(lock))
    }

    /// Takes the folder after [`Store::open_beside`], if its process has exited.
    ///
    /// # Errors
    /// [`StoreError::InUse`].
    pub fn take_folder(&self) -> Result<(), StoreError> {
        self.folder().map_or(Ok(()), DataFolder::lock)
    }

    /// The store's clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// Begins a write transaction. Waits up to 5 s for SQLite's writer.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let engine = self.inner.engine()?;
        let epoch = engine.epoch();
        let transaction = engine.begin().await?;
        self.in_transaction(transaction, epoch).await
    }

    /// As [`Store::begin`], for a joining node: separate from requests.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn begin_as_member(&self) -> Result<Tx, StoreError> {
        let engine = self.inner.engine()?;
        let epoch = engine.epoch();
        let transaction = engine.begin_as_member().await?;
        self.in_transaction(transaction, epoch).await
    }

    async fn in_transaction(
        &self,
        mut transaction: Transaction<'static, Any>,
        epoch: u64,
    ) -> Result<Tx, StoreError> {
        let engine = self.inner.engine()?;
        let now = step(engine.now(&mut transaction, self.inner.clock.as_ref())).await?;
        Ok(Tx::new(Arc::clone(&self.inner), transaction, now, epoch))
    }

    /// As [`Store::begin`], for a change by an API key, which is locked as it is now: its rights
    /// may have changed since the request began. `None`: it is gone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin_as(&self, key: &ApiKey) -> Result<Option<(Tx, ApiKeyRecord)>, StoreError> {
        let mut tx = self.begin().await?;
        Ok(tx.acting_key(key).await?.map(|record| (tx, record)))
    }

    /// As [`Store::begin_as`], for changes of API keys or of their projects.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin_on_keys_as(&self, key: &ApiKey) -> Result<Option<(Tx, ApiKeyRecord)>, StoreError> {
        let mut tx = self.begin().await?;
        tx.lock_api_keys().await?;
        Ok(tx.acting_key(key).await?.map(|record| (tx, record)))
    }

    /// Resolves after a commit by this process, or by others that notify. A wake-up only: may be
    /// late or spurious. Counts from the call on, not the first poll: call it before reading the
    /// feed.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut changes = self.inner.changes.subscribe();
        async move {
            if changes.changed().await.is_err() {
                // Closed: never wakes, and does not spin.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Resolves when the store recovers or another server takes over. Counts from the call on, not
    /// the first poll. Never resolves for an embedded store.
    pub fn answers_again(&self) -> impl Future<Output = ()> + Send + use<> {
        let reached = self.inner.opened.get().is_none().then(|| self.changed());
        let tracker = self.inner.opened.get().and_then(|opened| opened.engine.tracker());
        let usable = tracker.map(|tracker| tracker.usable_again());
        async move {
            match (reached, usable) {
                (Some(reached), _) => reached.await,
                (None, Some(usable)) => usable.await,
                (None, None) => std::future::pending().await,
            }
        }
    }

    /// Counts a request of `key` with `method` on `subject` (a deployment id; empty for lists), if
    /// within the limit. Exact under concurrency, durable across restarts.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn admit(
        &self,
        key: &ApiKey,
        subject: &str,
        method: Method,
        limit: RequestLimit,
    ) -> Result<Admission, StoreError> {
        let scope = request_log::scope(key, method, subject);
        let mut tx = self.inner.engine()?.begin_on_requests().await?;
        let decision = step(request_log::admit(&mut tx, self.inner.clock.as_ref(), &scope, limit)).await?;
        if decision.wrote {
            step(async { Ok(tx.commit().await?) }).await?;
        } else {
            // Refused requests must not cost disk writes.
            step(async { Ok(tx.rollback().await?) }).await?;
        }
        Ok(decision.admission)
    }

    /// The API key, if the secret matches. Unknown keys take as long.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn authenticate(&self, key: &str, secret: &str) -> Result<Option<ApiKeyRecord>, StoreError> {
        let mut conn = self.read().await?;
        step(api_key::authenticate(&mut conn, self.inner.pepper()?, key, secret)).await
    }

    /// One API key. For changes see [`Store::begin_as`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn api_key(&self, key: &ApiKey) -> Result<Option<ApiKeyRecord>, StoreError> {
        let mut conn = self.read().await?;
        step(api_key::find(&mut conn, key)).await
    }

    /// All API keys, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn api_keys(&self) -> Result<Vec<ApiKeyRecord>, StoreError> {
        let mut conn = self.read().await?;
        step(api_key::all(&mut conn)).await
    }

    /// All projects by id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn projects(&self) -> Result<Vec<Project>, StoreError> {
        let mut conn = self.read().await?;
        step(project::all(&mut conn)).await
    }

    /// One project.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn project(&self, id: &ProjectId) -> Result<Option<Project>, StoreError> {
        let mut conn = self.read().await?;
        step(project::find_unlocked(&mut conn, id)).await
    }

    /// The boundaries of all projects; `None` if still those of `known`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn boundaries(&self, known: Option<Stamp>) -> Result<Option<Boundaries>, StoreError> {
        let mut conn = self.read().await?;
        step(boundary::unless_known(&mut conn, known)).await
    }

    /// The deployment's upstreams that other projects use, too.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn shared_upstreams(&self, deployment: &Deployment) -> Result<Vec<Upstream>, StoreError> {
        let addresses =
            upstream_claim::claimed(&deployment.spec.upstream, deployment.spec.ws_upstream.as_ref());
        let mut conn = self.read().await?;
        let taken = step(upstream_claim::taken(&mut conn, addresses, &deployment.project)).await?;
        let upstreams = [Some(&deployment.spec.upstream), deployment.spec.ws_upstream.as_ref()];
        let upstreams = upstreams.into_iter().flatten().flat_map(UpstreamList::as_slice);
        Ok(upstreams.filter(|upstream| taken.contains(&upstream.claimed())).cloned().collect())
    }

    /// Deployments by state, and the earliest expiry.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn census(&self) -> Result<StatusCounts, StoreError> {
        self.census_by(COUNTED_AT_ONCE).await
    }

    async fn census_by(&self, page: u32) -> Result<StatusCounts, StoreError> {
        let mut census = StatusCounts::default();
        let mut after = Some(String::new());
        while let Some(from) = after {
            // Others use the connection between pages.
            let mut conn = self.read().await?;
            after = step(status_counts::add_page(&mut conn, &mut census, &from, page)).await?;
        }
        Ok(census)
    }

    /// A project's deployments by id after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn deployments_of(
        &self,
        project: &ProjectId,
        after: Option<&DeploymentId>,
        limit: u32,
    ) -> Result<Vec<Deployment>, StoreError> {
        let mut conn = self.read().await?;
        step(deployment::of_project(&mut conn, project, after, limit)).await
    }

    /// One deployment.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn deployment(&self, id: &DeploymentId) -> Result<Option<Deployment>, StoreError> {
        let mut conn = self.read().await?;
        step(deployment::find(&mut conn, id)).await
    }

    /// Deployments by id after `after`, at most `limit`, as nodes index them: for the warm-up.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn hosts_after(
        &self,
        after: Option<&DeploymentId>,
        limit: u32,
    ) -> Result<Vec<Listed>, StoreError> {
        let mut conn = self.read().await?;
        step(host::by_deployment(&mut conn, after, limit)).await
    }

    /// The owner of the first claimed name: for the warm-up.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn first_of(&self, names: &[HostName]) -> Result<Option<(HostName, DeploymentId)>, StoreError> {
        let mut conn = self.read().await?;
        step(host::first_of(&mut conn, names)).await
    }

    /// Deployments by id after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn deployments_after(
        &self,
        after: Option<&DeploymentId>,
        limit: u32,
    ) -> Result<Vec<Deployment>, StoreError> {
        let mut conn = self.read().await?;
        step(deployment::page(&mut conn, after, limit)).await
    }

    /// An accepted upload.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn version(
        &self,
        deployment: &DeploymentId,
        version: VersionId,
    ) -> Result<Option<Version>, StoreError> {
        let mut conn = self.read().await?;
        step(version::find(&mut conn, deployment, version)).await
    }

    /// The fallback: the newest version before `before` that was proven and has its key.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn last_proven_version(
        &self,
        deployment: &DeploymentId,
        before: VersionId,
    ) -> Result<Option<Version>, StoreError> {
        let mut conn = self.read().await?;
        step(version::last_proven(&mut conn, deployment, before)).await
    }

    /// Opens a version's sealed key; `None` if erased.
    ///
    /// # Errors
    /// [`StoreError::Sealed`].
    pub async fn private_key(
        &self,
        deployment: &DeploymentId,
        version: VersionId,
    ) -> Result<Option<PrivateKey>, StoreError> {
        let mut conn = self.read().await?;
        step(version::private_key(&mut conn, &self.inner.sealer, deployment, version)).await
    }

    /// The newest generation; `Generation(0)` in an empty store.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn newest_generation(&self) -> Result<Generation, StoreError> {
        let mut conn = self.read().await?;
        step(feed::newest(&mut conn)).await
    }

    /// The newest feed row; [`FeedPosition::START`] in an empty store.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn newest_position(&self) -> Result<FeedPosition, StoreError> {
        let mut conn = self.inner.engine()?.read_as_member().await?;
        step(feed::newest_position(&mut conn)).await
    }

    /// At most `limit` feed rows after `after`. `held`: the newest position of what the reader
    /// holds, checked against the store's history.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn feed_after(
        &self,
        after: FeedPosition,
        held: FeedPosition,
        limit: u32,
    ) -> Result<FeedPage, StoreError> {
        let mut conn = self.inner.engine()?.read_as_member().await?;
        step(feed::after(&mut conn, after, held, limit)).await
    }

    /// As [`Store::feed_after`], with a transaction of the same snapshot if there are rows.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn feed_reading(
        &self,
        after: FeedPosition,
        held: FeedPosition,
        limit: u32,
    ) -> Result<(FeedPage, Option<Reading>), StoreError> {
        let mut tx = self.inner.engine()?.begin_reading_as_member().await?;
        let page = step(feed::after(&mut tx, after, held, limit)).await?;
        let reading = match &page {
            FeedPage::Rows(rows) if !rows.is_empty() => {
                Some(Reading::begin(tx, Arc::clone(&self.inner.sealer), held).await?)
            }
            _ => None,
        };
        Ok((page, reading))
    }

    /// A snapshot. `held`: see [`Store::feed_after`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn reading(&self, held: FeedPosition) -> Result<Reading, StoreError> {
        let transaction = self.inner.engine()?.begin_reading().await?;
        Reading::begin(transaction, Arc::clone(&self.inner.sealer), held).await
    }

    /// As [`Store::reading`], separate from requests.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn reading_as_member(&self, held: FeedPosition) -> Result<Reading, StoreError> {
        let transaction = self.inner.engine()?.begin_reading_as_member().await?;
        Reading::begin(transaction, Arc::clone(&self.inner.sealer), held).await
    }

    /// Renews the session's lease, expired or not; `false`: the node must join again.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn renew_lease(
        &self,
        node: &NodeId,
        session: Session,
        lease: Duration,
    ) -> Result<bool, StoreError> {
        let engine = self.inner.engine()?;
        let mut conn = engine.write_as_member().await?;
        step(async {
            let until = engine.now(&mut conn, self.inner.clock.as_ref()).await?.after(lease);
            node::renew(&mut conn, node, session, until).await
        })
        .await
    }

    /// Nodes with a lease or a report in the last hour, by id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn nodes(&self) -> Result<Vec<NodeRecord>, StoreError> {
        let mut conn = self.read().await?;
        step(async {
            let now = self.inner.engine()?.now(&mut conn, self.inner.clock.as_ref()).await?;
            node::listed(&mut conn, now).await
        })
        .await
    }

    /// Records that a process runs; not a membership. `since`: `None` at first, then the value
    /// returned.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn hear_process(
        &self,
        node: &NodeId,
        process: NodeProcess,
        since: Option<Timestamp>,
    ) -> Result<Timestamp, StoreError> {
        self.begin().await?.hear_process(node, process, since).await
    }

    /// Removes the report of a process that ends.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn forget_process(&self, node: &NodeId) -> Result<(), StoreError> {
        self.begin().await?.forget_process(node).await
    }

    /// Unsettled deployments that wait for this node, by id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn unproven(&self, node: &NodeId) -> Result<Vec<DeploymentId>, StoreError> {
        let mut conn = self.inner.engine()?.read_as_member().await?;
        step(node::unproven(&mut conn, node)).await
    }

    /// The nodes counted for a deployment's newest change.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn counts(&self, deployment: &DeploymentId) -> Result<Vec<RequiredProof>, StoreError> {
        let mut conn = self.read().await?;
        step(node::counts(&mut conn, deployment)).await
    }

    /// At most `limit` audit records, newest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn audit(&self, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        let mut conn = self.read().await?;
        step(audit::newest(&mut conn, limit)).await
    }

    /// A sealed record of the program (such as ticket keys), inserted if absent. Concurrent nodes
    /// get the same one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn secret_or_insert(
        &self,
        name: &str,
        make: Zeroizing<Vec<u8>>,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let name = of_the_program(name);
        let mut conn = self.read().await?;
        if let Some(found) = step(secret::find(&mut conn, &self.inner.sealer, &name)).await? {
            return Ok(found);
        }
        drop(conn);
        let tx = self.begin().await?;
        tx.keep_secret(&name, &make).await
    }

    /// A sealed record of the program, if it exists.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn secret(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let mut conn = self.read().await?;
        step(secret::find(&mut conn, &self.inner.sealer, &of_the_program(name))).await
    }

    /// Removes sealed records with `from <= name < before`, by bytes. Returns their number.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn remove_secrets(&self, from: &str, before: &str) -> Result<u64, StoreError> {
        self.begin().await?.remove_secrets(&of_the_program(from), &of_the_program(before)).await
    }

    /// Prunes the feed (older than 7 days), audit (newest 100,000 kept), nodes (silent for an hour)
    /// and request log (older than its window), and writes upstream claims that an older release
    /// omitted. Called periodically by one task per node.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn prune(&self, request_window: std::time::Duration) -> Result<(), StoreError> {
        let mut conn = self.read().await?;
        let now = step(self.inner.engine()?.now(&mut conn, self.inner.clock.as_ref())).await?;
        drop(conn);
        for _ in 0..PRUNES_MAX {
            let mut tx = self.inner.engine()?.begin().await?;
            let more = step(async {
                let feed = feed::prune(&mut tx, now.before(FEED_RETENTION), PRUNED_AT_ONCE).await?;
                let audit = audit::prune(&mut tx, audit::KEPT, PRUNED_AT_ONCE).await?;
                tx.commit().await?;
                Ok(feed || audit)
            })
            .await?;
            if !more {
                break;
            }
        }
        let mut tx = self.inner.engine()?.begin().await?;
        step(async {
            node_process::prune(&mut tx, now).await?;
            Ok(tx.commit().await?)
        })
        .await?;
        // To the end: every claim scans the deployments without.
        let mut more = true;
        while more {
            let mut tx = self.inner.engine()?.begin().await?;
            more = step(async {
                let more = upstream_claim::catch_up(&mut tx, CAUGHT_UP_AT_ONCE).await?;
                tx.commit().await?;
                Ok(more)
            })
            .await?;
        }
        // To the end: pages are short, and a failing one does not undo the above.
        let mut after = Some(String::new());
        while let Some(from) = after {
            let mut tx = self.inner.engine()?.begin().await?;
            after = step(async {
                let next = node::prune_counts(&mut tx, &from, PRUNED_AT_ONCE).await?;
                tx.commit().await?;
                Ok(next)
            })
            .await?;
        }
        for _ in 0..PRUNES_MAX {
            let mut tx = self.inner.engine()?.begin_on_requests().await?;
            let more = step(async {
                let more = request_log::prune(&mut tx, now.before(request_window), PRUNED_AT_ONCE).await?;
                tx.commit().await?;
                Ok(more)
            })
            .await?;
            if !more {
                break;
            }
        }
        self.inner.engine()?.checkpoint().await
    }

    /// Whether the store can write, for `/readyz`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn ping(&self) -> Result<(), StoreError> {
        // Concurrent callers share one answer.
        let mut pinged = self.inner.pinged.lock().await;
        if pinged.is_some_and(|at| at.elapsed() < PING_CACHE_TIME) {
            return Ok(());
        }
        let mut tx = self.inner.engine()?.begin().await?;
        step(async {
            sqlx::query("UPDATE counter SET value = value + 1 WHERE name = 'ping'").execute(&mut *tx).await?;
            Ok(tx.commit().await?)
        })
        .await?;
        *pinged = Some(Instant::now());
        Ok(())
    }

    /// The time base of leases.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn now(&self) -> Result<Timestamp, StoreError> {
        let mut conn = self.read().await?;
        step(self.inner.engine()?.now(&mut conn, self.inner.clock.as_ref())).await
    }

    /// Waits for connections in use; on SQLite truncates the WAL.
    pub async fn close(&self) {
        if let Some(opened) = self.inner.opened.get() {
            opened.listener.as_ref().map(ChangeListener::end);
            opened.engine.close().await;
        }
    }

    /// An embedded store is never away.
    fn folder(&self) -> Option<&DataFolder> {
        self.inner.opened.get().and_then(|opened| opened.engine.folder())
    }

    pub(crate) async fn begin_reading(&self) -> Result<Transaction<'static, Any>, StoreError> {
        self.inner.engine()?.begin_reading().await
    }

    pub(crate) async fn begin_reading_as_member(&self) -> Result<Transaction<'static, Any>, StoreError> {
        self.inner.engine()?.begin_reading_as_member().await
    }

    pub(crate) async fn read(&self) -> Result<PoolConnection<Any>, StoreError> {
        self.inner.engine()?.read().await
    }
}

/// Separate from the store's own records.
pub(crate) fn of_the_program(name: &str) -> String {
    format!("program.{}", row::storable(name))
}

impl Records for Store {
    async fn deployment(&self, id: &DeploymentId) -> Result<Option<Deployment>, StoreError> {
        Store::deployment(self, id).await
    }

    async fn version(
        &self,
        deployment: &DeploymentId,
        version: VersionId,
    ) -> Result<Option<Version>, StoreError> {
        Store::version(self, deployment, version).await
    }

    async fn last_proven_version(
        &self,
        deployment: &DeploymentId,
        before: VersionId,
    ) -> Result<Option<Version>, StoreError> {
        Store::last_proven_version(self, deployment, before).await
    }

    async fn private_key(
        &self,
        deployment: &DeploymentId,
        version: VersionId,
    ) -> Result<Option<PrivateKey>, StoreError> {
        Store::private_key(self, deployment, version).await
    }
}

#[cfg(test)]
mod tests {
    use certward_test_support::PostgresServer;
    use sqlx::AssertSqlSafe;

    use super::*;
    use crate::Servers;
    use crate::{AuditEntry, SystemClock};

    fn filler() -> AuditEntry {
        AuditEntry { actor: "a".into(), action: "fill", subject: "s".into(), detail: "x".repeat(10_000) }
    }

    #[tokio::test]
    async fn a_full_disk_is_unavailable_commits_nothing_and_is_got_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let address = Address::Embedded(folder.path().join("data"));
        let store = Store::init(&address, &MasterKey::generate(), Arc::new(SystemClock)).await.expect("made");
        store.inner.engine().expect("open").limit_pages(100).await.expect("limited");
        let mut tx = store.begin().await.expect("a transaction");
        tx.draw_generation(&DeploymentId::parse("a").expect("an id")).await.expect("a generation");
        let mut refused = None;
        for _ in 0..100 {
            if let Err(error) = tx.audit(filler()).await {
                refused = Some(error);
                break;
            }
        }
        let text = refused.expect("it is full").to_string();
        assert!(text.contains("unavailable") && text.contains("full"), "{text}");
        assert!(matches!(tx.audit(filler()).await, Err(StoreError::Unavailable(_))));
        assert!(matches!(tx.commit().await, Err(StoreError::Unavailable(_))), "no false yes");
        assert_eq!(store.newest_generation().await.expect("read"), Generation(0));
        assert!(store.audit(1).await.expect("read").is_empty());
        store.inner.engine().expect("open").limit_pages(100_000).await.expect("limited");
        let mut tx = store.begin().await.expect("a transaction");
        tx.audit(filler()).await.expect("written");
        tx.commit().await.expect("committed");
        assert_eq!(store.audit(9).await.expect("read").len(), 1);
    }

    async fn execute(store: &Store, sql: &str) {
        let mut tx = store.inner.engine().expect("open").begin().await.expect("a transaction");
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut *tx).await.expect(sql);
        tx.commit().await.expect("committed");
    }

    async fn rows(store: &Store, sql: &str) -> Vec<(String, i64, Option<i64>)> {
        let mut conn = store.read().await.expect("a connection");
        let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut *conn).await.expect(sql);
        let read = |row| {
            let text = row::text(row, "name").expect("a text");
            (
                text,
                row::integer(row, "n").expect("a number"),
                row::integer_or_null(row, "m").expect("a number"),
            )
        };
        rows.iter().map(read).collect()
    }

    /// In all states, not created by id order.
    async fn populate(store: &Store) {
        let states = ["absent", "pending", "running", "failed", "terminated", "running", "running"];
        for number in 0..40 {
            let (id, state) = (number * 7 % 40, states[number % states.len()]);
            let version = if state == "absent" { "NULL".to_owned() } else { id.to_string() };
            let insert = format!(
                "INSERT INTO deployment (id, project, name, upstream, created_at, generation, tls_state, tls_version,
                                         tls_deadline, tls_reason)
                 VALUES ('d-{id:03}', 'default', '', '127.0.0.1:1883', 0, 1, '{state}', {version}, 1, 'r')"
            );
            execute(store, &insert).await;
            for (version, ends) in [(id, 1_000 + id), (id + 1_000, 5)] {
                let insert = format!(
                    "INSERT INTO version (deployment, version, tls_type, chain, client_cas, trust_scope, not_after,
                                          findings, created_at, proven)
                     VALUES ('d-{id:03}', {version}, 'one-way', '', '', '', {ends}, '[]', 0, 0)"
                );
                execute(store, &insert).await;
            }
        }
    }

    async fn assert_counts_the_whole(store: &Store) {
        assert_eq!(store.census_by(3).await.expect("counted"), StatusCounts::default());
        populate(store).await;
        let counted = rows(
            store,
            "SELECT d.tls_state AS name, count(*) AS n, min(v.not_after) AS m FROM deployment d
             LEFT JOIN version v ON v.deployment = d.id AND v.version = d.tls_version GROUP BY d.tls_state",
        )
        .await;
        let of = |state| counted.iter().find(|(name, ..)| name == state).map_or(0, |(_, n, _)| *n as u64);
        let whole = StatusCounts {
            absent: of("absent"),
            pending: of("pending"),
            running: of("running"),
            failed: of("failed"),
            terminated: of("terminated"),
            earliest_not_after: counted.iter().filter_map(|(.., ends)| *ends).min().map(Timestamp),
        };
        assert!(counted.len() == 5 && whole.earliest_not_after.is_some());
        for page in [1, 2, 7, 39, 40, 41, COUNTED_AT_ONCE] {
            assert_eq!(store.census_by(page).await.expect("counted"), whole, "pages of {page}");
        }
    }

    #[tokio::test]
    async fn what_is_counted_in_pages_of_any_size_is_the_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let server = PostgresServer::shared();
        let postgres = Servers::parse([server.database()]).expect("a URL");
        for address in [Address::Embedded(folder.path().join("data")), Address::Postgres(postgres)] {
            let store =
                Store::init(&address, &MasterKey::generate(), Arc::new(SystemClock)).await.expect("made");
            assert_counts_the_whole(&store).await;
        }
    }
}
