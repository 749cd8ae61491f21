use std::{fmt, sync::Arc};

use certward_store::FirstExpiries;
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::DescriptorEncoder,
    metrics::MetricType,
    registry::{Registry, Unit},
};

/// Prometheus reads 10,000 series of one node well: 1 MB a scrape.
pub(super) const SERIES_MAX: usize = 10_000;

/// When the certificate of each deployment ends, of those that end first.
#[derive(Debug, Clone, Default)]
pub(super) struct DeploymentExpiries(Arc<Mutex<FirstExpiries>>);

impl DeploymentExpiries {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let expiries = Self::default();
        registry.register_collector(Box::new(expiries.clone()));
        expiries
    }

    pub(super) fn set(&self, expiries: FirstExpiries) {
        let left_out = expiries.left_out;
        let before = std::mem::replace(&mut *self.0.lock(), expiries);
        let was_whole = before.left_out == 0;
        if was_whole && left_out > 0 {
            tracing::warn!(
                config.key = "metrics.per_deployment",
                left_out,
                "metrics show the {SERIES_MAX} certificates that end first; the others are left out"
            );
        }
    }
}

impl Collector for DeploymentExpiries {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let expiries = self.0.lock();
        let help = "When the certificate of each deployment ends, in seconds since 1970, of the 10,000 that end first; \
                    only with per_deployment in [metrics].";
        let unit = Unit::Seconds;
        let mut metric = encoder.encode_descriptor(
            "certward_deployment_certificate_expiry_timestamp",
            help,
            Some(&unit),
            MetricType::Gauge,
        )?;
        for (deployment, not_after) in &expiries.first {
            let labels = [("deployment", deployment.as_str())];
            metric.encode_family(&labels)?.encode_gauge(&not_after.0.div_euclid(1000))?;
        }
        let help = "Deployments whose certificates end later than those shown one by one; only with per_deployment in \
                    [metrics].";
        let left_out = i64::try_from(expiries.left_out).unwrap_or(i64::MAX);
        encoder
            .encode_descriptor("certward_deployment_certificates_left_out", help, None, MetricType::Gauge)?
            .encode_gauge(&left_out)
    }
}
