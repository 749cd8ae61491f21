use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use certward_lifecycle::{
    CarryingOut, Entropy, FailedHandshake, LiveEvidence, NodeView, Rehearsal, SessionFilter,
    SessionsByClientCa, SessionsOfNode, TrustChange,
};
use certward_pki::{DenyKey, DeviceId, Material, NoEntryPoint};
use certward_store::{Clock, Deployment, DeploymentId, Generation, NodeId, Replica};
use prometheus_client::registry::Registry as MetricsRegistry;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    GatewayError, Settings,
    accept::admission::{Bounds, Doorkeeper},
    config::{read_gate::Gate, tickets::KeyRing, tls_config::TlsConfigFactory, trust_age::TrustAge},
    devices::{
        client_ca_sessions::sessions_by_client_ca,
        live_evidence::{VERIFY_FOR, live_evidence},
        live_sessions,
        register::DeviceRegister,
    },
    observe::{failures::Failures, metrics::Metrics, table_metrics::TableMetrics},
    proof::{entry_point::entry_points, probes::Probes, rehearsal},
    routing::{host_index::HostIndex, index_warmup::IndexWarmup},
    session::registry::Registry,
    sync::{progress::FeedProgress, replicator::Replicator, report_gate::ReportGate},
};

/// Less than the asker waits, which has the store's work besides.
const CARRIED_OUT_TIMEOUT: Duration = Duration::from_millis(700);

/// This node's gateway; clones share it. Stages: [`Unbound`], [`crate::Bound`],
/// [`crate::Prepared`], accepting.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) inner: Arc<GatewayInner>,
}

pub(crate) struct GatewayInner {
    pub(crate) settings: Settings,
    pub(crate) node: NodeId,
    pub(crate) doorkeeper: Arc<Doorkeeper>,
    pub(crate) tables: Arc<TableMetrics>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) ring: Arc<KeyRing>,
    pub(crate) tls_configs: Arc<TlsConfigFactory>,
    pub(crate) index: Arc<HostIndex>,
    pub(crate) warmup: Arc<IndexWarmup>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) devices: Arc<DeviceRegister>,
    pub(crate) failures: Arc<Failures>,
    pub(crate) probes: Arc<Probes>,
    pub(crate) reports: Arc<ReportGate>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) progress: Arc<FeedProgress>,
    pub(crate) trust_age: Arc<TrustAge>,
    /// `None`: this node has no replica.
    pub(crate) replicator: Option<Arc<Replicator>>,
    pub(crate) ready: AtomicBool,
    pub(crate) owned_by_other: AtomicBool,
    /// Cancelled when nothing is accepted or reported any more.
    pub(crate) stopped: CancellationToken,
}

/// A node's replica, and its mark (see [`Replica::mark`]).
#[derive(Debug)]
pub struct NodeReplica {
    /// Open, or to be built.
    pub replica: Replica,
    /// `None`: not usable yet.
    pub mark: Option<Generation>,
}

/// A gateway before [`Unbound::bind`].
#[derive(Debug)]
pub struct Unbound(pub(crate) Gateway);

impl Unbound {
    /// Opens nothing. With a replica, devices are served from it while the store is unavailable.
    /// Metrics are registered as `certward_gateway_…`.
    ///
    /// # Errors
    /// [`GatewayError::NoListeners`].
    pub fn new(
        settings: Settings,
        node: NodeId,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        replica: Option<NodeReplica>,
        metrics: &mut MetricsRegistry,
    ) -> Result<Self, GatewayError> {
        if settings.listeners.is_empty() {
            return Err(GatewayError::NoListeners);
        }
        let registered = Arc::<Metrics>::default();
        registered.register(metrics, replica.is_some());
        let doorkeeper = Arc::new(Doorkeeper::new(Bounds {
            finished_max: settings.connections_max,
            per_address_max: settings.connections_per_address_max,
            unfinished_kept: settings.unfinished_kept,
        }));
        let tables = Arc::new(TableMetrics::new(Arc::clone(&doorkeeper)));
        metrics
            .sub_registry_with_prefix("certward_gateway")
            .register_collector(Box::new(Arc::clone(&tables)));
        let gate = Arc::<Gate>::default();
        let replicator = replica.map(|NodeReplica { replica, mark }| {
            Arc::new(Replicator::new(replica, mark, Arc::clone(&gate), Arc::clone(&registered)))
        });
        let ring = Arc::new(KeyRing::new(Arc::clone(&clock)));
        let trust_age = Arc::new(TrustAge::new(Arc::clone(&clock), settings.stale_trust, &*entropy));
        let devices = DeviceRegister::new(settings.devices, Arc::clone(&registered), clock.now());
        let devices = Arc::new(devices);
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
            registry: Arc::new(Registry::new(Arc::clone(&registered), Arc::clone(&devices.hours))),
            devices,
            metrics: registered,
            failures: Arc::default(),
            probes: Arc::default(),
            reports: Arc::default(),
            gate,
            progress: Arc::new(FeedProgress::new()),
            trust_age,
            replicator,
            ready: AtomicBool::new(false),
            owned_by_other: AtomicBool::new(false),
            stopped: CancellationToken::new(),
        };
        Ok(Self(Gateway { inner: Arc::new(inner) }))
    }
}

impl Gateway {
    /// On return no proof is reported until [`Gateway::resume_proofs`]. Devices are served on.
    pub async fn hold_proofs(&self) {
        self.inner.reports.hold().await;
    }

    /// Proves everything again: the other process may have voided the proofs.
    pub async fn resume_proofs(&self) {
        self.inner.reports.resume().await;
    }

    /// If another process has the node, a shutdown leaves it the lease.
    pub fn set_owned_by_other(&self, owned_by_other: bool) {
        self.inner.owned_by_other.store(owned_by_other, Ordering::Release);
    }

    /// Resolves once nothing is accepted or reported; connections may remain.
    pub async fn stopped(&self) {
        self.inner.stopped.cancelled().await;
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
            || self.inner.replicator.as_ref().is_some_and(|replicator| replicator.readable().is_some());
        self.inner.ready.load(Ordering::Acquire) && (self.inner.warmup.knows_all() || has_snapshot())
    }

    fn entry_point(&self, deployment: &Deployment) -> Result<(), NoEntryPoint> {
        let Settings { listeners, default_deployment, .. } = &self.inner.settings;
        entry_points(listeners, default_deployment.as_ref(), deployment).map(|_| ())
    }

    fn connections(&self, deployment: &DeploymentId) -> u64 {
        self.inner.registry.count(deployment) as u64
    }

    fn gateway_node(&self) -> Option<NodeId> {
        Some(self.inner.node.clone())
    }

    fn recent_failures(&self, deployment: &DeploymentId) -> Vec<FailedHandshake> {
        self.inner.failures.all(deployment)
    }

    fn newest_failure(&self, deployment: &DeploymentId) -> Option<FailedHandshake> {
        self.inner.failures.newest(deployment)
    }

    fn sessions(
        &self,
        deployment: &DeploymentId,
        filter: &SessionFilter,
        limit: usize,
    ) -> Option<SessionsOfNode> {
        let GatewayInner { registry, devices, .. } = &*self.inner;
        live_sessions::sessions(registry, devices.kept, deployment, filter, limit)
    }

    fn connected(&self, deployment: &DeploymentId, wanted: &[DeviceId]) -> Option<Vec<DeviceId>> {
        let GatewayInner { registry, devices, .. } = &*self.inner;
        live_sessions::connected(registry, devices.kept, deployment, wanted)
    }

    fn close_sessions(&self, deployment: &DeploymentId, filter: &SessionFilter) -> Option<u64> {
        let GatewayInner { registry, devices, .. } = &*self.inner;
        live_sessions::close_sessions(registry, devices.kept, deployment, filter)
    }

    fn live_evidence(&self, deployment: &DeploymentId, change: &TrustChange) -> LiveEvidence {
        let GatewayInner { registry, devices, clock, .. } = &*self.inner;
        let now = clock.now().to_time();
        live_evidence(registry, devices.kept, deployment, change, now, VERIFY_FOR)
    }

    fn denied_sessions(&self, deployment: &DeploymentId, keys: &[DenyKey]) -> Vec<u64> {
        live_sessions::denied(&self.inner.registry, deployment, keys)
    }

    fn carried_out(&self, deployment: &DeploymentId, change: Generation) -> CarryingOut<'_> {
        let deployment = deployment.clone();
        Box::pin(async move {
            let done = self.inner.progress.carried_out(&deployment, change);
            timeout(CARRIED_OUT_TIMEOUT, done).await.is_ok()
        })
    }

    fn sessions_by_client_ca(&self, deployment: &DeploymentId, client_cas: &[Vec<u8>]) -> SessionsByClientCa {
        let GatewayInner { registry, devices, .. } = &*self.inner;
        sessions_by_client_ca(registry, devices.kept, deployment, client_cas, VERIFY_FOR)
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("node", &self.inner.node).finish_non_exhaustive()
    }
}
