use std::{sync::Arc, time::Duration};

use certward_store::{Nat64, Store};
use prometheus_client::registry::Registry;

use crate::{
    AlertDelivery, AlertSender, CrlFetcher, Entropy, ExpiryRules, ExpiryWatch, NodeView, Rehearsal,
    judge_pool::JudgePool,
    metrics::ChangeMetrics,
    ports::{NoAlertSender, NoCrlFetcher},
};

/// Settings of the life cycle.
#[derive(Debug, Clone)]
pub struct LifecycleSettings {
    /// Until a change is `failed` (60 s by default).
    pub prove_within: Duration,
    /// How long a node stays counted without renewal (15 s by default).
    pub lease: Duration,
    /// Deployments per project; 0: no limit.
    pub deployments_per_project_max: u32,
    /// NAT64 prefixes of upstream addresses.
    pub nat64: Nat64,
    /// When it is said that something ends.
    pub expiry_rules: ExpiryRules,
}

impl Default for LifecycleSettings {
    fn default() -> Self {
        Self {
            prove_within: Duration::from_secs(60),
            lease: Duration::from_secs(15),
            deployments_per_project_max: 0,
            nat64: Nat64::WELL_KNOWN_ONLY,
            expiry_rules: ExpiryRules::default(),
        }
    }
}

/// Operations of operators and nodes, by file: certificates in `tls.rs`, nodes in `membership.rs`
/// and `assignment.rs`. Cheap to clone.
///
/// # Errors
/// Every call: `StoreError`, alone or as a variant.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    pub(crate) store: Store,
    pub(crate) rehearsal: Arc<dyn Rehearsal>,
    pub(crate) node_view: Arc<dyn NodeView>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) settings: LifecycleSettings,
    pub(crate) judge_pool: JudgePool,
    pub(crate) alert_sender: Arc<dyn AlertSender>,
    pub(crate) crl_fetcher: Arc<dyn CrlFetcher>,
    pub(crate) metrics: ChangeMetrics,
}

impl Lifecycle {
    /// Creates the life cycle; opens nothing.
    pub fn new(
        store: Store,
        rehearsal: Arc<dyn Rehearsal>,
        node_view: Arc<dyn NodeView>,
        entropy: Arc<dyn Entropy>,
        settings: LifecycleSettings,
    ) -> Self {
        let (judge_pool, metrics) = (JudgePool::new(), ChangeMetrics::default());
        Self {
            store,
            rehearsal,
            node_view,
            entropy,
            settings,
            judge_pool,
            alert_sender: Arc::new(NoAlertSender),
            crl_fetcher: Arc::new(NoCrlFetcher),
            metrics,
        }
    }

    /// With what sends alerts; without it none are sent.
    pub fn with_alert_sender(self, alert_sender: Arc<dyn AlertSender>) -> Self {
        Self { alert_sender, ..self }
    }

    /// With what fetches CRLs; without it none are fetched.
    pub fn with_crl_fetcher(self, crl_fetcher: Arc<dyn CrlFetcher>) -> Self {
        Self { crl_fetcher, ..self }
    }

    /// Whether this node may fetch CRLs from anywhere.
    pub fn may_fetch_crls(&self) -> bool {
        self.crl_fetcher.may_reach_any()
    }

    /// Lists what ends, and records alerts.
    pub fn expiry_watch(&self) -> ExpiryWatch {
        ExpiryWatch::new(self.store.clone(), self.settings.expiry_rules.clone())
    }

    /// Delivers alerts.
    pub fn alert_delivery(&self) -> AlertDelivery {
        AlertDelivery::new(self.store.clone(), Arc::clone(&self.alert_sender), Arc::clone(&self.entropy))
    }

    /// Registers the metrics `certward_change_…`.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// The store, for reads without a rule (lists, authentication, request log).
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The view of this node.
    pub fn node_view(&self) -> &Arc<dyn NodeView> {
        &self.node_view
    }
}
