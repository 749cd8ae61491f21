use std::time::Duration;

use certward_lifecycle::{Pace, periodically};
use certward_store::{StatusCounts, Store, StoreError};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// A count reads every deployment once.
const COUNT_INTERVAL_MIN: Duration = Duration::from_secs(30);
/// At most a hundredth of the store's time.
const COUNT_INTERVAL_FACTOR: u32 = 100;

/// Metrics for alerts on expiry and failed changes.
#[derive(Debug, Clone, Default)]
pub(super) struct StatusMetrics {
    deployments: Family<StatusLabel, Gauge>,
    earliest_expiry: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StatusLabel {
    status: &'static str,
}

impl StatusMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("certward");
        registry.register(
            "certificates",
            "Deployments by the status of their certificate",
            metrics.deployments.clone(),
        );
        registry.register(
            "certificate_earliest_expiry_timestamp_seconds",
            "When the first of all certificates ends, in seconds since 1970; 0 without any",
            metrics.earliest_expiry.clone(),
        );
        metrics
    }

    fn set(&self, counts: &StatusCounts) {
        let by_status = [
            ("absent", counts.absent),
            ("pending", counts.pending),
            ("running", counts.running),
            ("failed", counts.failed),
            ("terminated", counts.terminated),
        ];
        for (status, count) in by_status {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.deployments.get_or_create(&StatusLabel { status }).set(count);
        }
        self.earliest_expiry.set(counts.earliest_not_after.map_or(0, |at| at.0.div_euclid(1000)));
    }

    /// The last figures stay in an outage.
    pub(super) async fn run(self, store: Store, shutdown: CancellationToken) -> anyhow::Result<()> {
        let count = || async {
            let began = Instant::now();
            self.set(&store.read().status_counts(store.clock().now()).await?);
            let pause = began.elapsed() * COUNT_INTERVAL_FACTOR;
            sleep(pause.saturating_sub(COUNT_INTERVAL_MIN)).await;
            Ok::<_, StoreError>(())
        };
        let what = "the certificates cannot be counted";
        periodically(what, Pace::AtOnce(COUNT_INTERVAL_MIN), &store, shutdown, count).await;
        Ok(())
    }
}
