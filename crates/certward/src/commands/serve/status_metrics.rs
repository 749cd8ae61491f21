use std::time::Duration;

use certward_lifecycle::{Pace, periodically};
use certward_store::{
    ENDING_WITHIN_DAYS, EndingCount, FirstExpiries, StatusCounts, Store, StoreError, Timestamp,
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    deployment_expiries::{DeploymentExpiries, SERIES_MAX},
    optional_gauge::OptionalGauge,
};

/// A count reads every deployment, and every certificate that ends soon, once.
const COUNT_INTERVAL_MIN: Duration = Duration::from_secs(30);
/// At most a hundredth of the store's time.
const COUNT_INTERVAL_FACTOR: u32 = 100;

/// Metrics for alerts on expiry and failed changes.
#[derive(Debug, Clone)]
pub(super) struct StatusMetrics {
    deployments: Family<StatusLabel, Gauge>,
    expired: Family<KindLabel, Gauge>,
    ending: Family<WithinLabel, Gauge>,
    earliest_expiry: OptionalGauge,
    counted_at: OptionalGauge,
    /// `None` without `per_deployment`.
    expiries: Option<DeploymentExpiries>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StatusLabel {
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WithinLabel {
    kind: &'static str,
    within: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

impl StatusMetrics {
    pub(super) fn register(registry: &mut Registry, per_deployment: bool) -> Self {
        let metrics = Self {
            deployments: Family::default(),
            expired: Family::default(),
            ending: Family::default(),
            earliest_expiry: OptionalGauge::default(),
            counted_at: OptionalGauge::default(),
            expiries: per_deployment.then(|| DeploymentExpiries::register(registry)),
        };
        // All series exist before the first count.
        metrics.set_counts(&StatusCounts::default());
        metrics.set_endings(&EndingCount::none());
        let registry = registry.sub_registry_with_prefix("certward");
        registry.register(
            "certificates",
            "Deployments by the status of their certificate: any failed, and pending that stays, needs a look; \
             counted at most every 30 s, of the whole store on every node, and kept while the database is away",
            metrics.deployments.clone(),
        );
        registry.register(
            "certificates_expired",
            "Certificates of the newest uploads, CRLs, API keys and certificates of APIs that have ended",
            metrics.expired.clone(),
        );
        registry.register(
            "certificates_ending",
            "Certificates of the newest uploads, CRLs, API keys and certificates of APIs that end within this time and have \
             not ended yet; the longer times include the shorter ones",
            metrics.ending.clone(),
        );
        registry.register_with_unit(
            "certificate_earliest_expiry_timestamp",
            "When the first of the newest certificates ends, in seconds since 1970; absent without certificates, \
             and until the first count",
            Unit::Seconds,
            metrics.earliest_expiry.clone(),
        );
        registry.register_with_unit(
            "certificates_counted_timestamp",
            "When certificates were last counted, in seconds since 1970; absent until the first count",
            Unit::Seconds,
            metrics.counted_at.clone(),
        );
        metrics
    }

    /// `expiries`: with `per_deployment`.
    pub(super) fn set(
        &self,
        counts: &StatusCounts,
        endings: &[EndingCount],
        now: Timestamp,
        expiries: Option<FirstExpiries>,
    ) {
        self.set_counts(counts);
        self.set_endings(endings);
        self.earliest_expiry.set(counts.earliest_not_after.map(seconds));
        self.counted_at.set(Some(seconds(now)));
        if let Some((metrics, expiries)) = self.expiries.as_ref().zip(expiries) {
            metrics.set(expiries);
        }
    }

    fn set_counts(&self, counts: &StatusCounts) {
        let by_status = [
            ("absent", counts.absent),
            ("pending", counts.pending),
            ("running", counts.running),
            ("failed", counts.failed),
            ("terminated", counts.terminated),
        ];
        for (status, count) in by_status {
            self.deployments.get_or_create(&StatusLabel { status }).set(clamped(count));
        }
    }

    fn set_endings(&self, endings: &[EndingCount]) {
        for count in endings {
            let kind = count.kind.as_str();
            self.expired.get_or_create(&KindLabel { kind }).set(clamped(count.ended));
            for (days, count) in ENDING_WITHIN_DAYS.into_iter().zip(count.within) {
                let within = format!("{days}d");
                self.ending.get_or_create(&WithinLabel { kind, within }).set(clamped(count));
            }
        }
    }

    /// The last figures stay in an outage.
    pub(super) async fn run(self, store: Store, shutdown: CancellationToken) -> anyhow::Result<()> {
        let count = || async {
            let began = Instant::now();
            self.count(&store).await?;
            let pause = began.elapsed() * COUNT_INTERVAL_FACTOR;
            sleep(pause.saturating_sub(COUNT_INTERVAL_MIN)).await;
            Ok::<_, StoreError>(())
        };
        let what = "the certificates cannot be counted";
        periodically(what, Pace::AtOnce(COUNT_INTERVAL_MIN), &store, shutdown, count).await;
        Ok(())
    }

    async fn count(&self, store: &Store) -> Result<(), StoreError> {
        let now = store.clock().now();
        let counts = store.read().status_counts().await?;
        let endings = store.read().ending_counts(now).await?;
        let expiries = match &self.expiries {
            Some(_) => Some(store.read().first_expiries(SERIES_MAX).await?),
            None => None,
        };
        self.set(&counts, &endings, now, expiries);
        Ok(())
    }
}

fn seconds(at: Timestamp) -> i64 {
    at.0.div_euclid(1000)
}

fn clamped(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
