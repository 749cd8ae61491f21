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
    postgres::listen::Listener,
    repo::{
        api_key, audit, boundary, deployment, feed, host, node, node_process, project, request_log,
        status_counts, upstream_claim, version,
    },
    sealed::{sealing::Sealer, secret},
    shared::{Inner, Opened},
};

/// How long the feed is kept: a node that was away for longer reads everything anew.
const FEED_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Rows that are pruned in one transaction, so that no writer waits long for it.
const PRUNED_AT_ONCE: u32 = 5_000;
/// Deployments whose claims are written in one transaction: a few statements each.
const CAUGHT_UP_AT_ONCE: u32 = 500;
/// Pruning transactions in one run, so that it ends: 1,000,000 rows.
const PRUNES_MAX: u32 = 200;
/// Deployments that are counted in one statement. Each costs a look at its version, in the worst case from a disk that has nothing cached:
/// 0.5 ms each are 1 s, a fifth of what a statement may take.
const COUNTED_AT_ONCE: u32 = 2_000;
/// How long an answer of [`Store::ping`] holds: those who ask for readiness must not cost an fsync each.
const PING_HOLDS: Duration = Duration::from_secs(1);

/// The store, cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engine = self.inner.opened.get().map(|opened| &opened.engine);
        f.debug_struct("Store").field("engine", &engine).finish_non_exhaustive()
    }
}

/// Brings the schema of a store that `init` made up to date.
async fn bring_up_to_date(engine: &Engine) -> Result<(), StoreError> {
    if engine.version().await? == 0 {
        return Err(StoreError::NotInitialised);
    }
    engine.migrate_requests().await?;
    engine.migrate_store().await
}

impl Store {
    /// Opens a store that [`Store::init`] made, and brings its schema up to date.
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

    /// As [`Store::open`], but the folder of an embedded store is not taken: another process has it and is about to hand it over, see
    /// [`Store::adopt_folder`]. SQLite itself allows for both.
    ///
    /// # Errors
    /// As [`Store::open`], but for [`StoreError::InUse`].
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

    /// A store that is away for now. Nothing is connected, and everything asked of it is [`StoreError::Unavailable`]
    /// at once, until [`Store::reach`] has found it.
    pub fn away(address: Address, master_key: &MasterKey, clock: Arc<dyn Clock>) -> Self {
        Self { inner: Arc::new(Inner::new(Some(address), Sealer::new(master_key), clock)) }
    }

    /// Whether it was [`Store::away`] and has not been reached since.
    pub fn is_away(&self) -> bool {
        self.inner.opened.get().is_none()
    }

    /// Looks once for a store that is [`Store::away`], and brings its schema up to date as [`Store::open`] does. Does
    /// nothing where it was reached already: from then on it comes and goes by itself.
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
        // Nobody else sets it under the lock.
        let _ = self.inner.opened.set(opened);
        self.inner.changes.send_replace(());
        Ok(())
    }

    /// Makes the schema, the `default` project and the master key's check value in an empty store, and opens it.
    /// A store that is there already is left as it is.
    ///
    /// # Errors
    /// As [`Store::open`]; a store made with another key is [`StoreError::WrongMasterKey`].
    pub async fn init(
        address: &Address,
        master_key: &MasterKey,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let engine = Engine::open(address, true).await?;
        engine.migrate_requests().await?;
        let sealer = Sealer::new(master_key);
        // One transaction: a store is initialised or it is not. Of two nodes that try at once the second finds it done.
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
        let inner = Inner::new(None, sealer, clock);
        let opened = Opened::with(engine, &inner).await?;
        let inner = Inner { opened: OnceLock::from(opened), ..inner };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether a store is there, made by `init`.
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

    /// The lock of an embedded store's folder, to be handed to the process that takes this one's place. `None` on PostgreSQL.
    ///
    /// # Errors
    /// What the system says: there may be no file descriptor left.
    pub fn share_folder(&self) -> io::Result<Option<OwnedFd>> {
        self.folder().map_or(Ok(None), DataFolder::share_lock)
    }

    /// Another process has the folder from now on; this one goes on using the store until it has ended.
    pub fn release_folder(&self) {
        if let Some(folder) = self.folder() {
            folder.release();
        }
    }

    /// Takes the folder of a store that was opened by [`Store::open_beside`] with the lock that its process handed over.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when it is no lock of this folder.
    pub fn adopt_folder(&self, lock: OwnedFd) -> Result<(), StoreError> {
        self.folder().map_or(Ok(()), |folder| folder.adopt(lock))
    }

    /// Takes the folder of a store that was opened by [`Store::open_beside`] when its process has ended meanwhile.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when somebody has it.
    pub fn take_folder(&self) -> Result<(), StoreError> {
        self.folder().map_or(Ok(()), DataFolder::lock)
    }

    /// The clock the store was opened with.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// Begins a transaction that may write. On SQLite there is one writer at a time, and this waits for it (bounded:
    /// 5 s, then [`StoreError::Unavailable`]).
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let engine = self.inner.engine()?;
        let epoch = engine.epoch();
        let transaction = engine.begin().await?;
        self.in_transaction(transaction, epoch).await
    }

    /// As [`Store::begin`], on a connection apart from those of requests: for a node that joins.
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

    /// As [`Store::begin`], for a change in the name of an API key: with the key as it is in this transaction, which stays so until
    /// its end. `None` when there is no such key any more.
    ///
    /// What a key was when its request began says nothing of what it may do now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin_as(&self, key: &ApiKey) -> Result<Option<(Tx, ApiKeyRecord)>, StoreError> {
        let mut tx = self.begin().await?;
        Ok(tx.acting_key(key).await?.map(|record| (tx, record)))
    }

    /// As [`Store::begin_as`], for a change that makes, changes or removes API keys or takes a project from them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin_on_keys_as(&self, key: &ApiKey) -> Result<Option<(Tx, ApiKeyRecord)>, StoreError> {
        let mut tx = self.begin().await?;
        tx.lock_api_keys().await?;
        Ok(tx.acting_key(key).await?.map(|record| (tx, record)))
    }

    /// Resolves when something was committed through this process, or another one where the engine tells.
    /// Only a wake-up: may come late, and may come for nothing. It tells of commits from the call on (not
    /// only from the first poll): call it before reading the feed, and await it after.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut changes = self.inner.changes.subscribe();
        async move {
            if changes.changed().await.is_err() {
                // The store is gone, and nothing will ever be committed through it: no wake-up, and no busy loop.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Resolves when the store answers again that did not, or another server has taken its place: what waits to
    /// try again may do so now. Counts from the call on, not only from the first poll. Never resolves for an
    /// embedded store.
    pub fn answers_again(&self) -> impl Future<Output = ()> + Send + use<> {
        let reached = self.inner.opened.get().is_none().then(|| self.changed());
        let line = self.inner.opened.get().and_then(|opened| opened.engine.line());
        let usable = line.map(|line| line.usable_again());
        async move {
            match (reached, usable) {
                (Some(reached), _) => reached.await,
                (None, Some(usable)) => usable.await,
                (None, None) => std::future::pending().await,
            }
        }
    }

    /// Counts a request of `key` with `method` on `subject` (a deployment id; empty for the neighbours), if it is
    /// within the limit. Exact under parallel requests, durable across a restart of the program; a refusal writes
    /// nothing. The time is taken under the lock.
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
            // A flood of refused requests must not cost the disk anything.
            step(async { Ok(tx.rollback().await?) }).await?;
        }
        Ok(decision.admission)
    }

    /// The API key, if there is one and the secret is its own. Takes the same time when it is unknown.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn authenticate(&self, key: &str, secret: &str) -> Result<Option<ApiKeyRecord>, StoreError> {
        let mut conn = self.read().await?;
        step(api_key::authenticate(&mut conn, self.inner.pepper()?, key, secret)).await
    }

    /// One API key as it is now. For a change see [`Store::begin_as`].
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

    /// The boundaries of all projects; `None` if they are still those of `known`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn boundaries(&self, known: Option<Stamp>) -> Result<Option<Boundaries>, StoreError> {
        let mut conn = self.read().await?;
        step(boundary::unless_known(&mut conn, known)).await
    }

    /// Those of the deployment's upstream addresses that deployments of other projects use, too.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn shared_upstreams(&self, deployment: &Deployment) -> Result<Vec<Upstream>, StoreError> {
        let addresses = upstream_claim::claimed(&deployment.upstream, deployment.ws_upstream.as_ref());
        let mut conn = self.read().await?;
        let taken = step(upstream_claim::taken(&mut conn, addresses, &deployment.project)).await?;
        let upstreams = [Some(&deployment.upstream), deployment.ws_upstream.as_ref()];
        let upstreams = upstreams.into_iter().flatten().flat_map(UpstreamList::as_slice);
        Ok(upstreams.filter(|upstream| taken.contains(&upstream.claimed())).cloned().collect())
    }

    /// How many deployments stand where, and when the first certificate ends.
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
            // Anew for each page: others have their turn in between.
            let mut conn = self.read().await?;
            after = step(status_counts::add_page(&mut conn, &mut census, &from, page)).await?;
        }
        Ok(census)
    }

    /// Deployments of a project in id order after `after`, at most `limit`.
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

    /// Deployments in id order after `after`, at most `limit`, with the names that lead to them: for a node that fills its index.
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

    /// Whose the first of these names is that is anybody's: for a node whose index is not full yet.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn first_of(&self, names: &[HostName]) -> Result<Option<(HostName, DeploymentId)>, StoreError> {
        let mut conn = self.read().await?;
        step(host::first_of(&mut conn, names)).await
    }

    /// Deployments in id order after `after`, at most `limit`.
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

    /// The newest version older than `before` that every counted node once proved and whose key is still there:
    /// what to fall back to when a newer one cannot be served.
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

    /// Opens the sealed key of a version; `None` when it is erased.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] when it does not open.
    pub async fn private_key(
        &self,
        deployment: &DeploymentId,
        version: VersionId,
    ) -> Result<Option<PrivateKey>, StoreError> {
        let mut conn = self.read().await?;
        step(version::private_key(&mut conn, &self.inner.sealer, deployment, version)).await
    }

    /// The newest generation drawn, `Generation(0)` in an empty store.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn newest_generation(&self) -> Result<Generation, StoreError> {
        let mut conn = self.read().await?;
        step(feed::newest(&mut conn)).await
    }

    /// The newest row of the feed; [`FeedPosition::START`] in an empty store.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn newest_position(&self) -> Result<FeedPosition, StoreError> {
        let mut conn = self.inner.engine()?.read_as_member().await?;
        step(feed::newest_position(&mut conn)).await
    }

    /// Feed rows after `after`, oldest first, at most `limit`. `held`: the newest position that anything the reader
    /// holds was read at; the answer says so where the store's history does not have it.
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

    /// As [`Store::feed_after`]; where there are rows, with a transaction of the same moment: what has changed is read
    /// there as the rows say it.
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

    /// One state of the store, to load what a device asks for. `held`: see [`Store::feed_after`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn reading(&self, held: FeedPosition) -> Result<Reading, StoreError> {
        let transaction = self.inner.engine()?.begin_reading().await?;
        Reading::begin(transaction, Arc::clone(&self.inner.sealer), held).await
    }

    /// As [`Store::reading`], on a connection apart from those of requests: to load what the feed named.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn reading_as_member(&self, held: FeedPosition) -> Result<Reading, StoreError> {
        let transaction = self.inner.engine()?.begin_reading_as_member().await?;
        Reading::begin(transaction, Arc::clone(&self.inner.sealer), held).await
    }

    /// Renews the lease of a node's session for `lease` from now on, whether or not it has run out; `false`: the node has
    /// no row of this session, and has to join again.
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

    /// The nodes that hold a lease, and those that were heard of within the last hour and did not say that they end, by id.
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

    /// A process of a node says that it runs. `since`: what this returned the first time, `None` then. Nothing is counted by it.
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

    /// The node's last process ends: nobody is to miss it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn forget_process(&self, node: &NodeId) -> Result<(), StoreError> {
        self.begin().await?.forget_process(node).await
    }

    /// The unsettled deployments that wait for a proof of this node, by id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn unproven(&self, node: &NodeId) -> Result<Vec<DeploymentId>, StoreError> {
        let mut conn = self.inner.engine()?.read_as_member().await?;
        step(node::unproven(&mut conn, node)).await
    }

    /// Who is counted for a deployment's newest change.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn counts(&self, deployment: &DeploymentId) -> Result<Vec<RequiredProof>, StoreError> {
        let mut conn = self.read().await?;
        step(node::counts(&mut conn, deployment)).await
    }

    /// The newest audit records, newest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn audit(&self, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        let mut conn = self.read().await?;
        step(audit::newest(&mut conn, limit)).await
    }

    /// A sealed record of the program's own (ticket keys and the like), by name: read it, or make it with `make`
    /// when there is none yet. Two nodes that ask at once get the same.
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

    /// A sealed record of the program's own, by name, if there is one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn secret(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let mut conn = self.read().await?;
        step(secret::find(&mut conn, &self.inner.sealer, &of_the_program(name))).await
    }

    /// Removes the program's own sealed records with `from <= name < before`, compared by bytes, and says how many there
    /// were. Without any, nothing is written.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn remove_secrets(&self, from: &str, before: &str) -> Result<u64, StoreError> {
        self.begin().await?.remove_secrets(&of_the_program(from), &of_the_program(before)).await
    }

    /// Prunes the feed (older than 7 days), the audit (newest 100,000 kept), nodes that were not heard of for an hour, and the request
    /// log (older than its window), and writes the claims of upstream addresses that a node of the release before has left out. Called once in a while by one task of each node.
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
                let feed = feed::prune(&mut tx, now.before(FEED_KEPT), PRUNED_AT_ONCE).await?;
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
        // To the end, as the next. A deployment without claims is looked at by every claim.
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
        // To the end, for each page is short; a page that fails takes none of the above with it.
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

    /// Whether the store answers and can write: for `/readyz`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn ping(&self) -> Result<(), StoreError> {
        // Those who ask while one is under way wait for its answer and share it.
        let mut pinged = self.inner.pinged.lock().await;
        if pinged.is_some_and(|at| at.elapsed() < PING_HOLDS) {
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

    /// The time by the clock that leases are kept by: the database's on PostgreSQL.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn now(&self) -> Result<Timestamp, StoreError> {
        let mut conn = self.read().await?;
        step(self.inner.engine()?.now(&mut conn, self.inner.clock.as_ref())).await
    }

    /// Closes the connections; waits for those in use. On SQLite checkpoints the write-ahead log.
    pub async fn close(&self) {
        if let Some(opened) = self.inner.opened.get() {
            opened.listener.as_ref().map(Listener::end);
            opened.engine.close().await;
        }
    }

    /// The folder of an embedded store, which is never away.
    fn folder(&self) -> Option<&DataFolder> {
        self.inner.opened.get().and_then(|opened| opened.engine.folder())
    }

    /// A transaction that only reads, and sees one state of everything.
    pub(crate) async fn begin_reading(&self) -> Result<Transaction<'static, Any>, StoreError> {
        self.inner.engine()?.begin_reading().await
    }

    /// The same, apart from requests.
    pub(crate) async fn begin_reading_as_member(&self) -> Result<Transaction<'static, Any>, StoreError> {
        self.inner.engine()?.begin_reading_as_member().await
    }

    pub(crate) async fn read(&self) -> Result<PoolConnection<Any>, StoreError> {
        self.inner.engine()?.read().await
    }
}

/// A record's name, kept apart from the store's own records.
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
        // There is room again.
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

    /// 40 deployments in all states, made in another order than that of their ids.
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
            // An older version ends earlier, and is nobody's expiry any more.
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
