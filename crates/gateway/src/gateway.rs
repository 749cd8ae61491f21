use std::{
    convert::Infallible,
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use certward_lifecycle::{Entropy, FailedHandshake, Lifecycle, NodeView, Rehearsal};
use certward_pki::{Material, NoWayIn};
use certward_store::{Clock, Deployment, DeploymentId, Generation, NodeId, Replica, Store, StoreError};
use futures_util::future::OptionFuture;
use prometheus_client::registry::Registry as MetricsRegistry;
use tokio::{
    net::TcpListener,
    runtime::Handle,
    sync::Mutex,
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    GatewayError, Settings,
    accept::{
        admission::{Bounds, Doorkeeper},
        listener,
    },
    config::{
        loader::{Loader, LoaderSources},
        read_gate::Gate,
        ticket_keys::{keep_current, recall},
        tickets::KeyRing,
        tls_config::TlsConfigFactory,
        trust_age::TrustAge,
    },
    context::NodeContext,
    io::fair_share::FairShare,
    observe::{
        failures::Failures, log_throttle::LogThrottles, metrics::Metrics, table_metrics::TableMetrics,
    },
    proof::{entry_point::entry_points, prober::Prover, probes::Probes, rehearsal},
    routing::{boundaries::BoundaryIndex, host_index::HostIndex, index_warmup::IndexWarmup},
    session::{drain::end_over, handshake_queue::HandshakeQueues, registry::Registry},
    sync::{
        backoff::until_done,
        feed_reader::FirstRead,
        follower::{Follower, Permits},
        history::History,
        host_warmup::{HostWarmup, Start},
        lease,
        membership::Membership,
        progress::FeedProgress,
        replicator::Replicator,
        report_gate::ReportGate,
    },
    upstream::{UpstreamPolicy, Upstreams},
};

const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
const EVICT_INTERVAL: Duration = Duration::from_secs(30);
/// With the opening of the store (2 s at most) a device waits up to three seconds.
const FIRST_READ_TIMEOUT: Duration = Duration::from_secs(1);
/// Then the lease expires by itself.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// This node's gateway; clones share it.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<GatewayInner>,
}

struct GatewayInner {
    settings: Settings,
    node: NodeId,
    doorkeeper: Arc<Doorkeeper>,
    tables: Arc<TableMetrics>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    metrics: Arc<Metrics>,
    ring: Arc<KeyRing>,
    tls_configs: Arc<TlsConfigFactory>,
    index: Arc<HostIndex>,
    warmup: Arc<IndexWarmup>,
    registry: Arc<Registry>,
    failures: Arc<Failures>,
    probes: Arc<Probes>,
    reports: Arc<ReportGate>,
    gate: Arc<Gate>,
    trust_age: Arc<TrustAge>,
    /// `None`: this node has no replica.
    replicator: OnceLock<Arc<Replicator>>,
    ready: AtomicBool,
    anothers: AtomicBool,
    /// Cancelled when nothing is accepted or reported any more.
    stopped: CancellationToken,
}

/// Sockets that do not accept yet.
#[derive(Debug)]
pub struct Bound {
    sockets: Vec<std::net::TcpListener>,
    addresses: Vec<SocketAddr>,
}

impl Gateway {
    /// Builds the gateway; opens nothing. Metrics are registered as `certward_gateway_…`.
    ///
    /// # Errors
    /// [`GatewayError::NoListeners`].
    pub fn new(
        settings: Settings,
        node: NodeId,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        metrics: &mut MetricsRegistry,
    ) -> Result<Self, GatewayError> {
        if settings.listeners.is_empty() {
            return Err(GatewayError::NoListeners);
        }
        let registered = Arc::<Metrics>::default();
        registered.register(metrics);
        let doorkeeper = Arc::new(Doorkeeper::new(Bounds {
            finished_max: settings.connections_max,
            per_address_max: settings.connections_per_address_max,
            unfinished_kept: settings.unfinished_kept,
        }));
        let tables = Arc::new(TableMetrics::new(Arc::clone(&doorkeeper)));
        metrics
            .sub_registry_with_prefix("certward_gateway")
            .register_collector(Box::new(Arc::clone(&tables)));
        let ring = Arc::new(KeyRing::new(Arc::clone(&clock)));
        let trust_age = Arc::new(TrustAge::new(Arc::clone(&clock), settings.stale_trust, &*entropy));
        let inner = GatewayInner {
            settings,
            node,
            doorkeeper,
            tables,
            tls_configs: Arc::new(TlsConfigFactory::new(Arc::clone(&clock), Arc::clone(&ring))),
            clock,
            entropy,
            ring,
            index: Arc::default(),
            warmup: Arc::default(),
            registry: Arc::new(Registry::new(Arc::clone(&registered))),
            metrics: registered,
            failures: Arc::default(),
            probes: Arc::default(),
            reports: Arc::default(),
            gate: Arc::default(),
            trust_age,
            replicator: OnceLock::new(),
            ready: AtomicBool::new(false),
            anothers: AtomicBool::new(false),
            stopped: CancellationToken::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Serves devices from a replica while the store is unavailable. `mark`: see [`Replica::mark`].
    /// Call once, before [`Gateway::prepare`].
    pub fn keep(&self, snapshot: Replica, mark: Option<Generation>) {
        let (gate, metrics) = (Arc::clone(&self.inner.gate), Arc::clone(&self.inner.metrics));
        let _ = self.inner.replicator.set(Arc::new(Replicator::new(snapshot, mark, gate, metrics)));
    }

    /// Binds all listeners; connections queue until [`Gateway::run`].
    ///
    /// # Errors
    /// [`GatewayError::Bind`], with a remedy.
    pub fn bind(&self) -> Result<Bound, GatewayError> {
        self.bind_or_take(|_| None)
    }

    /// As [`Gateway::bind`], with inherited sockets from `passed`.
    ///
    /// # Errors
    /// As [`Gateway::bind`].
    pub fn bind_or_take(
        &self,
        mut passed: impl FnMut(SocketAddr) -> Option<std::net::TcpListener>,
    ) -> Result<Bound, GatewayError> {
        let mut bound = Bound { sockets: Vec::new(), addresses: Vec::new() };
        for wanted in &self.inner.settings.listeners {
            let failed =
                |source| GatewayError::Bind { listen: wanted.listen, protocol: wanted.protocol, source };
            let socket = match listener::addresses(wanted).find_map(&mut passed) {
                Some(socket) => listener::adopt(socket),
                None => listener::bind(wanted),
            }
            .map_err(failed)?;
            bound.addresses.push(socket.local_addr().map_err(failed)?);
            bound.sockets.push(socket);
        }
        Ok(bound)
    }

    /// [`Gateway::prepare`], then [`Prepared::serve`].
    ///
    /// # Errors
    /// [`GatewayError::Listener`].
    pub async fn run(
        &self,
        bound: Bound,
        lifecycle: Lifecycle,
        shutdown: CancellationToken,
    ) -> Result<(), GatewayError> {
        self.prepare(bound, lifecycle, shutdown).await.serve().await
    }

    /// Joins and reads the ticket keys, before the first accept. Waits for the store until
    /// `shutdown`. Call once.
    pub async fn prepare(&self, bound: Bound, lifecycle: Lifecycle, shutdown: CancellationToken) -> Prepared {
        let (node, entropy) = (self.inner.node.clone(), Arc::clone(&self.inner.entropy));
        let membership = Arc::new(Membership::new(lifecycle.clone(), node, entropy));
        let history = Arc::<History>::default();
        let context = Arc::new(self.context(&bound, lifecycle.clone(), &membership, &history));
        let follower = Arc::new(self.follower(&bound, &context, lifecycle.clone(), membership, history));
        self.inner.tables.are_of(&follower);
        let tasks = JoinSet::new();
        let start = self.start(&lifecycle, &follower, &shutdown).await;
        Prepared { gateway: self.clone(), bound, context, follower, lifecycle, tasks, start, shutdown }
    }

    /// On return no proof is reported until [`Gateway::resume_proofs`]. Devices are served on.
    pub async fn hold_proofs(&self) {
        self.inner.reports.hold().await;
    }

    /// Proves everything again: the other process may have voided the proofs.
    pub async fn resume_proofs(&self) {
        self.inner.reports.resume().await;
    }

    /// If another process has the node, a shutdown leaves it the lease.
    pub fn set_anothers(&self, anothers: bool) {
        self.inner.anothers.store(anothers, Ordering::Release);
    }

    /// Resolves once nothing is accepted or reported; connections may remain.
    pub async fn stopped(&self) {
        self.inner.stopped.cancelled().await;
    }

    fn context(
        &self,
        bound: &Bound,
        lifecycle: Lifecycle,
        membership: &Arc<Membership>,
        history: &Arc<History>,
    ) -> NodeContext {
        let GatewayInner { settings, .. } = &*self.inner;
        let own = [bound.addresses.as_slice(), &settings.own_addresses].concat();
        let policy = UpstreamPolicy {
            allow: settings.upstream_allow.clone(),
            own,
            nat64: settings.upstream_nat64.clone(),
        };
        let mut seed = [0; 8];
        self.inner.entropy.fill(&mut seed);
        let metrics = Arc::clone(&self.inner.metrics);
        let threads = Handle::current().metrics().num_workers();
        NodeContext {
            default: settings.default_deployment.clone(),
            deadlines: settings.deadlines,
            upstreams: Upstreams::new(policy, &settings.upstream_source, metrics, u64::from_ne_bytes(seed)),
            fair_share: FairShare::new(threads),
            handshake_queues: HandshakeQueues::new(threads),
            index: Arc::clone(&self.inner.index),
            boundaries: BoundaryIndex::default(),
            warmup: Arc::clone(&self.inner.warmup),
            store: lifecycle.store().clone(),
            gate: Arc::clone(&self.inner.gate),
            loader: Loader::new(
                lifecycle,
                LoaderSources {
                    membership: Arc::clone(membership),
                    history: Arc::clone(history),
                    gate: Arc::clone(&self.inner.gate),
                    trust_age: Arc::clone(&self.inner.trust_age),
                    replicator: self.inner.replicator.get().cloned(),
                },
                Arc::clone(&self.inner.tls_configs),
                Arc::clone(&self.inner.index),
                Arc::clone(&self.inner.metrics),
                settings.config_cache,
            ),
            tls_configs: Arc::clone(&self.inner.tls_configs),
            registry: Arc::clone(&self.inner.registry),
            failures: Arc::clone(&self.inner.failures),
            metrics: Arc::clone(&self.inner.metrics),
            probes: Arc::clone(&self.inner.probes),
            misdirected: LogThrottles::default(),
            clock: Arc::clone(&self.inner.clock),
        }
    }

    fn follower(
        &self,
        bound: &Bound,
        context: &Arc<NodeContext>,
        lifecycle: Lifecycle,
        membership: Arc<Membership>,
        history: Arc<History>,
    ) -> Follower {
        let prover = Prover {
            listeners: self.inner.settings.listeners.clone(),
            addresses: bound.addresses.clone(),
            default: self.inner.settings.default_deployment.clone(),
            provider: Arc::clone(self.inner.tls_configs.provider()),
            probes: Arc::clone(&self.inner.probes),
            entropy: Arc::clone(&self.inner.entropy),
        };
        let reports = Arc::clone(&self.inner.reports);
        let (context, node) = (Arc::clone(context), self.inner.node.clone());
        Follower {
            context,
            lifecycle,
            node,
            prover,
            reports,
            gate: Arc::clone(&self.inner.gate),
            trust_age: Arc::clone(&self.inner.trust_age),
            replicator: self.inner.replicator.get().cloned(),
            progress: FeedProgress::new(),
            membership,
            history,
            scheduled: AtomicUsize::new(0),
            permits: Permits::default(),
        }
    }

    /// Begins with the replica if usable, else waits for the store. `None`: shut down.
    async fn start(
        &self,
        lifecycle: &Lifecycle,
        follower: &Arc<Follower>,
        shutdown: &CancellationToken,
    ) -> Option<NodeStart> {
        if let Some(replicator) = self.inner.replicator.get()
            && replicator.stale_mark().is_some()
        {
            let begun = tokio::select! {
                biased;
                () = shutdown.cancelled() => return None,
                begun = self.begin_with_replica(replicator, lifecycle, follower) => begun,
            };
            if begun.is_some() {
                return begun;
            }
        }
        let begin = || self.begin(lifecycle, follower);
        until_done(lifecycle.store(), shutdown, "this node cannot start", begin).await
    }

    /// The feed is read for as long as devices can wait; announced deployments are not served from
    /// the replica. `None`: unusable.
    async fn begin_with_replica(
        &self,
        replicator: &Replicator,
        lifecycle: &Lifecycle,
        follower: &Follower,
    ) -> Option<NodeStart> {
        let replica = replicator.readable()?;
        let read = async {
            let reader = replica.read();
            recall(&self.inner.ring, &reader).await?;
            follower.context.boundaries.follow(&reader).await?;
            replica.mark_position().await
        };
        let mark = match read.await {
            Ok(mark) => mark?,
            Err(error) => {
                tracing::warn!("this node's snapshot cannot be read: {error}");
                replicator.invalidate();
                return None;
            }
        };
        follower.history.read([mark].into_iter());
        let deadline = Instant::now() + FIRST_READ_TIMEOUT;
        let mut first = FirstRead::from(mark);
        let late = |_| Err(StoreError::Unavailable("it does not answer in time".to_owned()));
        let read = timeout_at(deadline, follower.read_first(&mut first)).await.unwrap_or_else(late);
        match read {
            Ok(true) => {
                // After a long time off the replica's keys are expired, and nothing resumes.
                let _ = timeout_at(deadline, self.keep_ticket_keys(lifecycle)).await;
            }
            Ok(false) => {
                tracing::warn!(
                    "this node's snapshot is of another store, of another history of this one, or too old to be caught up: it \
                     is removed and built again"
                );
                replicator.invalidate();
                follower.history.start_over();
                follower.progress.reset();
                return None;
            }
            Err(error) => {
                follower.gate.set_silent(true);
                tracing::warn!(
                    "the database is away: devices are served from this node's snapshot ({error})"
                );
            }
        }
        let (start, names) = Follower::begin_with_replica(first);
        Some(NodeStart { start, names, is_registered: false })
    }

    /// A node without a replica has nothing to catch up with, and is usually counted before its
    /// first device.
    async fn begin(&self, lifecycle: &Lifecycle, follower: &Follower) -> Result<NodeStart, StoreError> {
        lifecycle.store().reach().await?;
        self.keep_ticket_keys(lifecycle).await?;
        let (start, names) = follower.begin().await?;
        follower.history.read([start.after()].into_iter());
        let is_registered = self.inner.replicator.get().is_none_or(|replicator| replicator.is_absent());
        if is_registered {
            follower.membership.register().await?;
            follower.progress.begin(start.after(), [].into_iter());
            if let Err(error) = follower.try_to_join().await {
                tracing::debug!("this node is not counted yet: {error}");
            }
        }
        Ok(NodeStart { start, names, is_registered })
    }

    async fn keep_ticket_keys(&self, lifecycle: &Lifecycle) -> Result<(), StoreError> {
        keep_current(&self.inner.ring, lifecycle.store(), &*self.inner.entropy).await
    }

    async fn rotate_ticket_keys(self, lifecycle: Lifecycle, shutdown: CancellationToken) {
        let what = "the session ticket keys cannot be renewed";
        let keep = || async {
            let kept = self.keep_ticket_keys(&lifecycle).await;
            if let (Err(_), Some(replicator)) = (&kept, self.inner.replicator.get()) {
                replicator.forget_old_ticket_keys(&self.inner.ring).await;
            }
            kept
        };
        periodically(SWEEP_INTERVAL, lifecycle.store(), shutdown, what, keep).await;
    }

    fn accept(
        &self,
        bound: Bound,
        context: &Arc<NodeContext>,
        connections: &TaskTracker,
        tasks: &mut JoinSet<()>,
        shutdown: &CancellationToken,
    ) -> Result<(), GatewayError> {
        let GatewayInner { settings, doorkeeper, .. } = &*self.inner;
        for (listener, socket) in settings.listeners.iter().zip(bound.sockets) {
            let socket = TcpListener::from_std(socket).map_err(GatewayError::Listener)?;
            tasks.spawn(listener::accept(
                Arc::clone(context),
                Arc::new(listener.clone()),
                socket,
                Arc::clone(doorkeeper),
                connections.clone(),
                shutdown.clone(),
            ));
        }
        Ok(())
    }

    async fn leave(&self, membership: &Membership) {
        if self.inner.anothers.load(Ordering::Acquire) {
            return;
        }
        match timeout(LEAVE_TIMEOUT, membership.leave()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("the store has not recorded that this node leaves: {error}"),
            Err(_) => tracing::warn!("the store has not recorded that this node leaves: it does not answer"),
        }
    }

    /// Closes the connections over the drain time.
    async fn drain(&self, connections: &TaskTracker) {
        connections.close();
        let GatewayInner { settings, registry, entropy, .. } = &*self.inner;
        let deadlines = &settings.deadlines;
        tracing::info!(connections = registry.total(), over = ?deadlines.drain, "draining: connections are closed one by one");
        let ended = end_over(registry, deadlines.drain, &**entropy);
        tokio::select! {
            () = connections.wait() => return,
            () = ended => {}
        }
        // Registered since: their handshakes were in progress.
        registry.close_all();
        // Closing takes at most twice the deadline.
        let _ = timeout(deadlines.close * 2, connections.wait()).await;
    }
}

/// A gateway ready to accept; its lease is kept.
#[derive(Debug)]
pub struct Prepared {
    gateway: Gateway,
    bound: Bound,
    context: Arc<NodeContext>,
    follower: Arc<Follower>,
    lifecycle: Lifecycle,
    tasks: JoinSet<()>,
    start: Option<NodeStart>,
    shutdown: CancellationToken,
}

#[derive(Debug)]
struct NodeStart {
    start: Start,
    names: HostWarmup,
    /// Else it joins after catching up.
    is_registered: bool,
}

impl Prepared {
    /// Serves until the shutdown; then stops accepting, leaves, and closes connections over
    /// [`crate::Deadlines::drain`]. Losing the store stops no handshake.
    ///
    /// # Errors
    /// [`GatewayError::Listener`]; [`GatewayError::Panicked`]: a node without a task must not stay
    /// counted.
    pub async fn serve(self) -> Result<(), GatewayError> {
        let Self { gateway, bound, context, follower, lifecycle, mut tasks, start, shutdown } = self;
        let inner = &gateway.inner;
        let membership = Arc::clone(&follower.membership);
        let connections = TaskTracker::new();
        // Separate: live connections need changes of trust to the end.
        let mut following = JoinSet::new();
        if let Some(start) = start {
            gateway.accept(bound, &context, &connections, &mut tasks, &shutdown)?;
            inner.ready.store(true, Ordering::Release);
            let NodeStart { start, names, is_registered } = start;
            following.spawn(Arc::clone(&follower).run(start));
            // After the feed is followed: a join holds all changes until they are carried out.
            let every = inner.settings.lease / 3;
            if is_registered {
                tasks.spawn(lease::keep(Arc::clone(&follower), every, shutdown.clone()));
            } else {
                tasks.spawn(rejoin(Arc::clone(&follower), every, shutdown.clone()));
            }
            tasks.spawn(fill(follower, names, shutdown.clone()));
            if let Some(replicator) = inner.replicator.get() {
                tasks.spawn(copy(Arc::clone(replicator), lifecycle.clone(), shutdown.clone()));
            }
            tasks.spawn(sweep(lifecycle.clone(), shutdown.clone()));
            tasks.spawn(evict_unused(Arc::clone(&context), shutdown.clone()));
            tasks.spawn(gateway.clone().rotate_ticket_keys(lifecycle.clone(), shutdown.clone()));
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = panicked(&mut following) => return Err(GatewayError::Panicked),
                () = panicked(&mut tasks) => return Err(GatewayError::Panicked),
            }
        }
        inner.ready.store(false, Ordering::Release);
        // First, so that nothing renews or reports afterwards.
        while tasks.join_next().await.is_some() {}
        inner.reports.close().await;
        inner.stopped.cancel();
        gateway.leave(&membership).await;
        gateway.drain(&connections).await;
        if let Some(replicator) = inner.replicator.get() {
            replicator.close().await;
        }
        Ok(())
    }
}

/// Tasks may also end normally.
async fn panicked(tasks: &mut JoinSet<()>) {
    loop {
        match tasks.join_next().await {
            Some(Err(error)) if error.is_panic() => return,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}

/// Joins after catching up: until then the node may serve what others replaced.
async fn rejoin(follower: Arc<Follower>, every: Duration, shutdown: CancellationToken) {
    let store = follower.lifecycle.store();
    let was_away = follower.gate.is_silent();
    let begin = || async {
        store.reach().await?;
        follower.membership.register().await
    };
    if until_done(store, &shutdown, "the database is still away", begin).await.is_none() {
        return;
    }
    let back = if was_away { "the database is back: " } else { "" };
    tracing::info!("{back}this node catches up before it is counted");
    lease::keep(follower, every, shutdown).await;
}

async fn fill(follower: Arc<Follower>, names: HostWarmup, shutdown: CancellationToken) {
    let names = Mutex::new(names);
    let store = follower.lifecycle.store();
    until_done(store, &shutdown, "the index of hosts cannot be filled", || follower.fill(&names)).await;
}

async fn copy(replicator: Arc<Replicator>, lifecycle: Lifecycle, shutdown: CancellationToken) {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = replicator.run(lifecycle.store()) => {}
    }
}

async fn sweep(lifecycle: Lifecycle, shutdown: CancellationToken) {
    let what = "leases and deadlines cannot be checked";
    periodically(SWEEP_INTERVAL, lifecycle.store(), shutdown, what, || lifecycle.sweep()).await;
}

async fn evict_unused(context: Arc<NodeContext>, shutdown: CancellationToken) {
    let forget = || async {
        let now = Instant::now();
        context.registry.sweep(now);
        context.upstreams.sweep(now);
        Ok::<_, Infallible>(())
    };
    periodically(EVICT_INTERVAL, &context.store, shutdown, "unused table entries cannot be evicted", forget)
        .await;
}

/// Retried at once when the store answers again.
async fn periodically<E, F>(
    every: Duration,
    store: &Store,
    shutdown: CancellationToken,
    what: &str,
    mut act: impl FnMut() -> F,
) where
    E: fmt::Display,
    F: Future<Output = Result<(), E>>,
{
    let mut failing = false;
    let mut answers_again = None;
    loop {
        let acted = async {
            tokio::select! {
                () = sleep(every) => {}
                Some(()) = OptionFuture::from(answers_again.take()), if failing => {}
            }
            answers_again = Some(Box::pin(store.answers_again()));
            act().await
        };
        let acted = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            acted = acted => acted,
        };
        match acted {
            Ok(()) => failing = false,
            Err(error) => {
                // Once per outage.
                if !failing {
                    tracing::warn!("{what}: {error}; trying again");
                }
                failing = true;
            }
        }
    }
}

impl Bound {
    /// Duplicates the sockets, for another process.
    ///
    /// # Errors
    /// The system's error.
    pub fn share(&self) -> io::Result<Vec<OwnedFd>> {
        self.sockets.iter().map(|socket| socket.try_clone().map(OwnedFd::from)).collect()
    }

    /// The addresses in the order of [`Settings::listeners`], with chosen ports.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }
}

impl Rehearsal for Gateway {
    fn rehearse(&self, material: &Material) -> Result<(), String> {
        rehearsal::rehearse(&self.inner.tls_configs, material)
    }
}

impl NodeView for Gateway {
    fn ready(&self) -> bool {
        // During warm-up names are looked up in the store or the replica.
        let has_snapshot =
            || self.inner.replicator.get().is_some_and(|replicator| replicator.readable().is_some());
        self.inner.ready.load(Ordering::Acquire) && (self.inner.warmup.knows_all() || has_snapshot())
    }

    fn way_in(&self, deployment: &Deployment) -> Result<(), NoWayIn> {
        let Settings { listeners, default_deployment, .. } = &self.inner.settings;
        entry_points(listeners, default_deployment.as_ref(), deployment).map(|_| ())
    }

    fn connections(&self, deployment: &DeploymentId) -> u64 {
        self.inner.registry.count(deployment) as u64
    }

    fn recent_failures(&self, deployment: &DeploymentId) -> Vec<FailedHandshake> {
        self.inner.failures.newest(deployment)
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("node", &self.inner.node).finish_non_exhaustive()
    }
}
