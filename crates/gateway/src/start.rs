//! From bound sockets to a node that may accept.

use std::{
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use certward_lifecycle::Lifecycle;
use certward_store::StoreError;
use tokio::{
    runtime::Handle,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Deadlines, GatewayError,
    accept::listener,
    config::{
        loader::{Loader, LoaderSources},
        ticket_keys::{keep_current, recall},
    },
    context::NodeContext,
    gateway::{Gateway, GatewayInner, Unbound},
    io::fair_share::FairShare,
    observe::{lost_devices::LostDevices, refusals::Refusals},
    proof::prober::Prover,
    routing::boundaries::BoundaryIndex,
    session::{
        client_ends::ClientEnds, handshake_queue::HandshakeQueues, paced_closes::PacedCloses,
        relay::RelayLimits, session_ages::SessionAges, stale_crls::StaleCrls,
    },
    sync::{
        backoff::until_done,
        feed_reader::FirstRead,
        follower::{Follower, Permits},
        history::History,
        host_warmup::{HostWarmup, Start},
        membership::Membership,
        replicator::Replicator,
    },
    upstream::{UpstreamPolicy, Upstreams, broker_health::BrokerHealth},
};

/// With the opening of the store (2 s at most) a device waits up to three seconds.
const FIRST_READ_TIMEOUT: Duration = Duration::from_secs(1);

/// A gateway with its sockets, which do not accept yet.
#[derive(Debug)]
pub struct Bound {
    pub(crate) gateway: Gateway,
    pub(crate) sockets: Vec<std::net::TcpListener>,
    pub(crate) addresses: Vec<SocketAddr>,
}

/// A node's place in the feed, and the warm-up of its host index.
#[derive(Debug)]
pub(crate) struct NodeStart {
    pub(crate) start: Start,
    pub(crate) names: HostWarmup,
}

/// A gateway ready to accept.
#[derive(Debug)]
pub struct Prepared {
    pub(crate) bound: Bound,
    pub(crate) follower: Arc<Follower>,
    /// `None`: shut down before it could start.
    pub(crate) start: Option<NodeStart>,
    pub(crate) shutdown: CancellationToken,
}

impl Unbound {
    /// Binds all listeners, or takes inherited sockets from `passed`; connections queue until
    /// [`Prepared::serve`].
    ///
    /// # Errors
    /// [`GatewayError::Bind`], with a remedy.
    pub fn bind(
        self,
        mut passed: impl FnMut(SocketAddr) -> Option<std::net::TcpListener>,
    ) -> Result<Bound, GatewayError> {
        let Self(gateway) = self;
        let (mut sockets, mut addresses) = (Vec::new(), Vec::new());
        for wanted in &gateway.inner.settings.listeners {
            let failed =
                |source| GatewayError::Bind { listen: wanted.listen, protocol: wanted.protocol, source };
            let socket = match listener::addresses(wanted).find_map(&mut passed) {
                Some(socket) => listener::adopt(socket),
                None => listener::bind(wanted),
            }
            .map_err(failed)?;
            addresses.push(socket.local_addr().map_err(failed)?);
            sockets.push(socket);
        }
        Ok(Bound { gateway, sockets, addresses })
    }
}

impl Bound {
    /// The gateway.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Duplicates the sockets, for another process.
    ///
    /// # Errors
    /// The system's error.
    pub fn share(&self) -> io::Result<Vec<OwnedFd>> {
        self.sockets.iter().map(|socket| socket.try_clone().map(OwnedFd::from)).collect()
    }

    /// Addresses in the order of [`crate::Settings::listeners`], with chosen ports.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    /// Reads the ticket keys, the boundaries and the place in the feed. Without a replica it waits
    /// for the store until `shutdown`, then registers and tries to join; with one it waits at most
    /// a second for the feed.
    pub async fn prepare(self, lifecycle: Lifecycle, shutdown: CancellationToken) -> Prepared {
        let follower = Arc::new(self.follower(lifecycle));
        self.gateway.inner.tables.are_of(&follower);
        let start = start(&self.gateway.inner, &follower, &shutdown).await;
        Prepared { bound: self, follower, start, shutdown }
    }

    fn follower(&self, lifecycle: Lifecycle) -> Follower {
        let inner = &self.gateway.inner;
        let (node, entropy) = (inner.node.clone(), Arc::clone(&inner.entropy));
        let membership = Arc::new(Membership::new(lifecycle.clone(), node.clone(), entropy));
        let history = Arc::<History>::default();
        Follower {
            context: Arc::new(self.context(lifecycle.clone(), &membership, &history)),
            lifecycle,
            node,
            prover: self.prover(),
            reports: Arc::clone(&inner.reports),
            gate: Arc::clone(&inner.gate),
            trust_age: Arc::clone(&inner.trust_age),
            replicator: inner.replicator.clone(),
            progress: Arc::clone(&inner.progress),
            membership,
            history,
            scheduled: AtomicUsize::new(0),
            permits: Permits::default(),
        }
    }

    fn prover(&self) -> Prover {
        let inner = &self.gateway.inner;
        Prover {
            listeners: inner.settings.listeners.clone(),
            addresses: self.addresses.clone(),
            default: inner.settings.default_deployment.clone(),
            provider: Arc::clone(inner.tls_configs.provider()),
            probes: Arc::clone(&inner.probes),
            entropy: Arc::clone(&inner.entropy),
        }
    }

    fn context(
        &self,
        lifecycle: Lifecycle,
        membership: &Arc<Membership>,
        history: &Arc<History>,
    ) -> NodeContext {
        let inner = &self.gateway.inner;
        let settings = &inner.settings;
        let Deadlines { idle, half_closed, stalled, .. } = settings.deadlines;
        let threads = Handle::current().metrics().num_workers();
        let sources = LoaderSources {
            membership: Arc::clone(membership),
            history: Arc::clone(history),
            gate: Arc::clone(&inner.gate),
            trust_age: Arc::clone(&inner.trust_age),
            replicator: inner.replicator.clone(),
        };
        NodeContext {
            default: settings.default_deployment.clone(),
            deadlines: settings.deadlines,
            relay_limits: Arc::new(RelayLimits { idle, half_closed, stalled }),
            upstreams: self.upstreams(),
            fair_share: FairShare::new(threads),
            handshake_queues: HandshakeQueues::new(threads),
            index: Arc::clone(&inner.index),
            boundaries: BoundaryIndex::default(),
            warmup: Arc::clone(&inner.warmup),
            store: lifecycle.store().clone(),
            gate: Arc::clone(&inner.gate),
            loader: Loader::new(
                lifecycle,
                sources,
                Arc::clone(&inner.tls_configs),
                Arc::clone(&inner.index),
                Arc::clone(&inner.metrics),
                settings.config_cache,
            ),
            tls_configs: Arc::clone(&inner.tls_configs),
            registry: Arc::clone(&inner.registry),
            paced_closes: PacedCloses::default(),
            session_ages: SessionAges::default(),
            client_ends: ClientEnds::new(settings.expired_sessions),
            stale_crls: StaleCrls::default(),
            devices: Arc::clone(&inner.devices),
            failures: Arc::clone(&inner.failures),
            metrics: Arc::clone(&inner.metrics),
            probes: Arc::clone(&inner.probes),
            refusals: Refusals::default(),
            lost_devices: LostDevices::default(),
            broker_health: BrokerHealth::new(Arc::clone(&inner.metrics)),
            clock: Arc::clone(&inner.clock),
            began: Instant::now(),
        }
    }

    fn upstreams(&self) -> Upstreams {
        let GatewayInner { settings, entropy, metrics, .. } = &*self.gateway.inner;
        let own = [self.addresses.as_slice(), &settings.own_addresses].concat();
        let policy = UpstreamPolicy {
            allow: settings.upstream_allow.clone(),
            own,
            nat64: settings.upstream_nat64.clone(),
        };
        let mut seed = [0; 8];
        entropy.fill(&mut seed);
        Upstreams::new(policy, &settings.upstream_source, Arc::clone(metrics), u64::from_ne_bytes(seed))
    }
}

/// Begins with the replica if usable, else waits for the store. `None`: shut down.
async fn start(inner: &GatewayInner, follower: &Follower, shutdown: &CancellationToken) -> Option<NodeStart> {
    if let Some(replicator) = &inner.replicator
        && replicator.stale_mark().is_some()
    {
        let begun = tokio::select! {
            biased;
            () = shutdown.cancelled() => return None,
            begun = begin_with_replica(inner, replicator, follower) => begun,
        };
        if begun.is_some() {
            return begun;
        }
    }
    let store = follower.lifecycle.store();
    until_done(store, shutdown, "this node cannot start", || begin_with_store(inner, follower)).await
}

/// The feed is read for as long as devices can wait; announced deployments are not served from the
/// replica. `None`: unusable.
async fn begin_with_replica(
    inner: &GatewayInner,
    replicator: &Replicator,
    follower: &Follower,
) -> Option<NodeStart> {
    let replica = replicator.readable()?;
    let read = async {
        let reader = replica.read();
        recall(&inner.ring, &reader).await?;
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
            let _ = timeout_at(deadline, keep_ticket_keys(inner, follower)).await;
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
            tracing::warn!("the database is away: devices are served from this node's snapshot ({error})");
        }
    }
    let (start, names) = Follower::begin_with_replica(first);
    Some(NodeStart { start, names })
}

/// A node without a replica has nothing to catch up with, and is usually counted before its first
/// device.
async fn begin_with_store(inner: &GatewayInner, follower: &Follower) -> Result<NodeStart, StoreError> {
    follower.lifecycle.store().reach().await?;
    keep_ticket_keys(inner, follower).await?;
    let (start, names) = follower.begin().await?;
    follower.history.read([start.after()].into_iter());
    if inner.replicator.as_ref().is_none_or(|replicator| replicator.is_absent()) {
        follower.membership.register().await?;
        follower.progress.begin(start.after(), [].into_iter());
        if let Err(error) = follower.try_to_join().await {
            tracing::debug!("this node is not counted yet: {error}");
        }
    }
    Ok(NodeStart { start, names })
}

pub(crate) async fn keep_ticket_keys(inner: &GatewayInner, follower: &Follower) -> Result<(), StoreError> {
    keep_current(&inner.ring, follower.lifecycle.store(), &*inner.entropy).await
}
