use std::time::Duration;

use prometheus_client::{
    metrics::histogram::Histogram,
    registry::{Registry, Unit},
};

/// From one node with an embedded store (20 ms) to changes that become `running` after their
/// deadline (60 s by default), when a node returns.
const CHANGE_BUCKETS: [f64; 13] =
    [0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0];

/// Metrics of changes.
#[derive(Debug, Clone)]
pub(crate) struct ChangeMetrics {
    to_running: Histogram,
}

impl Default for ChangeMetrics {
    fn default() -> Self {
        Self { to_running: Histogram::new(CHANGE_BUCKETS) }
    }
}

impl ChangeMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "certward_change_to_running",
            "Time from accepting an upload to running, of each upload once, on the node that recorded the last proof",
            Unit::Seconds,
            self.to_running.clone(),
        );
    }

    /// Uploads that became `running`, each after this time.
    pub(crate) fn running(&self, after: impl IntoIterator<Item = Duration>) {
        after.into_iter().for_each(|after| self.to_running.observe(after.as_secs_f64()));
    }
}
