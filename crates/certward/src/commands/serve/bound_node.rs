use std::sync::Arc;

use certward_api::{Api, ApiError, Reloader};
use certward_gateway::{Bound, Gateway, NoGateway, NodeReplica, Unbound};
use certward_lifecycle::{Entropy, Lifecycle, SystemEntropy};
use certward_store::Store;
use prometheus_client::registry::Registry;

use super::{
    api_certificate,
    crl_fetches::CrlFetchMetrics,
    expiry::AlertMetrics,
    outbound, process_metrics, settings,
    status_metrics::StatusMetrics,
    takeover::{InheritedSockets, Offer},
};
use crate::{config::Config, file_limit, node_id::HeldNodeId, usage::UsageError};

/// All sockets are bound, and nothing is served.
pub(super) struct BoundNode {
    pub(super) api: certward_api::BoundApi,
    pub(super) reloader: Option<Reloader>,
    /// `None` for the role `api`.
    pub(super) devices: Option<Bound>,
    pub(super) lifecycle: Lifecycle,
    pub(super) node: HeldNodeId,
    pub(super) metrics: certward_api::ApiMetrics,
    pub(super) counts: StatusMetrics,
    pub(super) alerts: AlertMetrics,
    pub(super) crl_fetches: CrlFetchMetrics,
    pub(super) registry: Registry,
}

impl BoundNode {
    pub(super) fn bind(
        config: &Config,
        store: &Store,
        node: HeldNodeId,
        replica: Option<NodeReplica>,
        mut inherited: InheritedSockets,
    ) -> anyhow::Result<Self> {
        let files = file_limit::raise();
        let mut registry = Registry::default();
        let metrics = certward_api::register_metrics(&mut registry);
        let counts = StatusMetrics::register(&mut registry, config.metrics.per_deployment);
        let alerts = AlertMetrics::register(&mut registry);
        let crl_fetches = CrlFetchMetrics::register(&mut registry);
        store.register_metrics(&mut registry);
        process_metrics::register(&mut registry);
        let api = Api::bind_or_take(settings::of_api(config, files), |address| inherited.take(address))
            .map_err(explain_api)?;
        api_certificate::register(&mut registry, api.reloader());
        let settings = settings::of_gateway(config, api.address(), files);
        let devices = match config.role.has_gateway() {
            true => {
                let (id, clock) = (node.id.clone(), Arc::clone(store.clock()));
                let entropy = Arc::new(SystemEntropy);
                let gateway = Unbound::new(settings, id, clock, entropy, replica, &mut registry)?;
                Some(gateway.bind(|address| inherited.take(address))?)
            }
            false => None,
        };
        inherited.close_rest();
        let lifecycle = lifecycle(config, store, devices.as_ref());
        lifecycle.register_metrics(&mut registry);
        let lifecycle = match outbound::alert_sender(config)? {
            Some(sender) => lifecycle.with_alert_sender(sender),
            None => lifecycle,
        };
        let lifecycle = match outbound::crl_fetcher(config)? {
            Some(fetcher) => lifecycle.with_crl_fetcher(fetcher),
            None => lifecycle,
        };
        say_addresses(config, &api, devices.as_ref());
        let (role, version) = (config.role.as_str(), env!("CARGO_PKG_VERSION"));
        tracing::info!(node = %node.id, role, version, files, "started");
        Ok(Self {
            reloader: api.reloader(),
            api,
            devices,
            lifecycle,
            node,
            metrics,
            counts,
            alerts,
            crl_fetches,
            registry,
        })
    }

    /// `None`, with a warning, without free descriptors.
    pub(super) fn offer(&self) -> Option<Offer> {
        let offer = || -> std::io::Result<Offer> {
            let mut sockets = self.devices.as_ref().map_or(Ok(Vec::new()), Bound::share)?;
            sockets.push(self.api.share()?);
            let folder_lock = self.lifecycle.store().share_folder()?;
            Ok(Offer { sockets, node_lock: self.node.share_lock()?, folder_lock })
        };
        offer().inspect_err(|e| tracing::warn!("no other process can take over from this one: {e}")).ok()
    }
}

fn lifecycle(config: &Config, store: &Store, devices: Option<&Bound>) -> Lifecycle {
    let (store, settings) = (store.clone(), settings::of_lifecycle(config));
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    match devices {
        Some(devices) => {
            let gateway = Arc::new(devices.gateway().clone());
            Lifecycle::new(store, Arc::<Gateway>::clone(&gateway), gateway, entropy, settings)
        }
        None => {
            let none = Arc::new(NoGateway::new(Arc::clone(store.clock())));
            Lifecycle::new(store, Arc::<NoGateway>::clone(&none), none, entropy, settings)
        }
    }
}

fn say_addresses(config: &Config, api: &certward_api::BoundApi, devices: Option<&Bound>) {
    let listener = if config.role.has_api() { "api" } else { "health" };
    tracing::info!(listener, address = %api.address(), tls = config.api.cert.is_some(), "listening");
    let Some(bound) = devices else { return };
    for (listener, address) in config.gateway.listeners().iter().zip(bound.addresses()) {
        match &listener.deployment {
            None => tracing::info!(listener = listener.protocol.as_str(), %address, "listening"),
            Some(id) => {
                tracing::info!(listener = listener.protocol.as_str(), %address, deployment.id = %id, "listening");
            }
        }
    }
}

/// Wrong files are configuration errors; a used address is not.
fn explain_api(error: ApiError) -> anyhow::Error {
    match error {
        ApiError::Listen { .. } => anyhow::Error::from(error)
            .context("the API cannot be served; is another certward running, or another program on its port ([api] listen)?"),
        error => UsageError::new(format!("[api] cert and key: {:#}", anyhow::Error::from(error))).into(),
    }
}
