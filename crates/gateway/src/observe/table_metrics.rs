//! Table sizes: explain memory growth, and show that deleted deployments leave nothing.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{family::Family, gauge::Gauge},
};

use crate::{accept::admission::Doorkeeper, sync::follower::Follower};

/// Measured per scrape; no tables until the gateway runs.
#[derive(Debug)]
pub(crate) struct TableMetrics {
    doorkeeper: Arc<Doorkeeper>,
    follower: Mutex<Weak<Follower>>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TableLabel {
    table: &'static str,
}

impl TableMetrics {
    pub(crate) fn new(doorkeeper: Arc<Doorkeeper>) -> Self {
        Self { doorkeeper, follower: Mutex::default() }
    }

    /// Attaches the running gateway.
    pub(crate) fn are_of(&self, follower: &Arc<Follower>) {
        *self.follower.lock() = Arc::downgrade(follower);
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        let Some(follower) = self.follower.lock().upgrade() else { return Vec::new() };
        let context = &follower.context;
        let (deployments, hosts) = context.index.sizes();
        let (upstreams, look_ups) = context.upstreams.sizes();
        let mut sizes = vec![
            ("addresses", self.doorkeeper.addresses()),
            ("boundaries", context.boundaries.len()),
            ("changes", follower.progress.len()),
            ("client_chains", context.tls_configs.chains()),
            ("configurations", context.loader.len()),
            ("connected_deployments", context.registry.deployments()),
            ("deployments", deployments),
            ("failed_deployments", context.failures.deployments()),
            ("gated", follower.gate.len()),
            ("hosts", hosts),
            ("look_ups", look_ups),
            ("probes", context.probes.len()),
            ("proofs", follower.scheduled()),
            ("ticket_keys", context.tls_configs.ticket_keys()),
            ("unfinished_connections", self.doorkeeper.unfinished()),
            ("unknown_hosts", context.warmup.len()),
            ("unreachable_upstreams", context.misdirected.len()),
            ("upstreams", upstreams),
        ];
        sizes.extend(follower.replicator.as_ref().map(|replicator| ("replica_pending", replicator.len())));
        sizes
    }
}

impl Collector for TableMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let entries = Family::<TableLabel, Gauge>::default();
        for (table, size) in self.sizes() {
            entries.get_or_create(&TableLabel { table }).set(i64::try_from(size).unwrap_or(i64::MAX));
        }
        let metric = encoder.encode_descriptor(
            "entries",
            "Entries of tables in memory",
            None,
            entries.metric_type(),
        )?;
        entries.encode(metric)
    }
}
