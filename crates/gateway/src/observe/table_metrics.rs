//! Table sizes: explain memory growth, and show that deleted deployments leave nothing.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, metrics::MetricType};

use crate::{accept::admission::Doorkeeper, sync::follower::Follower};

/// All tables; `replica_pending` is 0 without a replica.
const TABLES: [&str; 27] = [
    "addresses",
    "boundaries",
    "brokers",
    "changes",
    "client_chains",
    "client_ends",
    "closing_sessions",
    "configurations",
    "connected_deployments",
    "deployments",
    "failed_deployments",
    "gated",
    "hosts",
    "known_devices",
    "look_ups",
    "noted_devices",
    "offering_networks",
    "probes",
    "proofs",
    "replica_pending",
    "session_ages",
    "stale_crls",
    "ticket_keys",
    "unfinished_connections",
    "unknown_hosts",
    "unrecorded",
    "upstreams",
];

/// Measured per scrape; all are empty until the gateway runs.
#[derive(Debug)]
pub(crate) struct TableMetrics {
    doorkeeper: Arc<Doorkeeper>,
    follower: Mutex<Weak<Follower>>,
}

impl TableMetrics {
    pub(crate) fn new(doorkeeper: Arc<Doorkeeper>) -> Self {
        Self { doorkeeper, follower: Mutex::default() }
    }

    /// Attaches the running gateway.
    pub(crate) fn are_of(&self, follower: &Arc<Follower>) {
        *self.follower.lock() = Arc::downgrade(follower);
    }

    /// In the order of [`TABLES`].
    fn sizes(&self) -> [usize; TABLES.len()] {
        let Some(follower) = self.follower.lock().upgrade() else { return [0; TABLES.len()] };
        let context = &follower.context;
        let (deployments, hosts) = context.index.sizes();
        let (upstreams, look_ups) = context.upstreams.sizes();
        let (noted, unrecorded) = context.devices.sightings.sizes();
        [
            self.doorkeeper.addresses(),
            context.boundaries.len(),
            context.broker_health.len(),
            follower.progress.len(),
            context.tls_configs.chains(),
            context.client_ends.len(),
            context.paced_closes.len(),
            context.loader.len(),
            context.registry.deployments(),
            deployments,
            context.failures.deployments(),
            follower.gate.len(),
            hosts,
            context.devices.known.len(),
            look_ups,
            noted,
            context.devices.hours.len(),
            context.probes.len(),
            follower.scheduled(),
            follower.replicator.as_ref().map_or(0, |replicator| replicator.len()),
            context.session_ages.len(),
            context.stale_crls.len(),
            context.tls_configs.ticket_keys(),
            self.doorkeeper.unfinished(),
            context.warmup.len(),
            unrecorded,
            upstreams,
        ]
    }
}

impl Collector for TableMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let help = "Entries of the tables in memory; monitoring.md says what is in each.";
        let mut metric = encoder.encode_descriptor("entries", help, None, MetricType::Gauge)?;
        for (table, size) in TABLES.into_iter().zip(self.sizes()) {
            let size = i64::try_from(size).unwrap_or(i64::MAX);
            metric.encode_family(&[("table", table)])?.encode_gauge(&size)?;
        }
        Ok(())
    }
}
