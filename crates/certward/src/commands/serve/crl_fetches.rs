//! The task that fetches CRLs, of a node with the API.

use std::time::Duration;

use certward_lifecycle::{Lifecycle, Pace, RenewedCrls, periodically};
use certward_store::StoreError;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use tokio_util::sync::CancellationToken;

/// One look-up in an index.
const FETCH_INTERVAL: Duration = Duration::from_secs(2);

/// Metrics of fetches.
#[derive(Debug, Clone, Default)]
pub(super) struct CrlFetchMetrics {
    fetches: Family<FetchLabel, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FetchLabel {
    result: &'static str,
}

impl CrlFetchMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        metrics.count(RenewedCrls::default());
        registry.sub_registry_with_prefix("certward").register(
            "crl_fetches",
            "Attempts of this node to fetch a CRL; failed: not fetched, or refused",
            metrics.fetches.clone(),
        );
        metrics
    }

    fn count(&self, done: RenewedCrls) {
        let RenewedCrls { unmodified, replaced, failed } = done;
        for (result, count) in [("unmodified", unmodified), ("replaced", replaced), ("failed", failed)] {
            self.fetches.get_or_create(&FetchLabel { result }).inc_by(count);
        }
    }
}

pub(super) async fn run(
    lifecycle: Lifecycle,
    metrics: CrlFetchMetrics,
    begin: CancellationToken,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => return Ok(()),
        () = begin.cancelled() => {}
    }
    let renewal = lifecycle.crl_renewal();
    let fetch = || async {
        metrics.count(renewal.turn().await?);
        Ok::<_, StoreError>(())
    };
    let pace = Pace::AtOnce(FETCH_INTERVAL);
    periodically("CRLs cannot be fetched", pace, lifecycle.store(), shutdown, fetch).await;
    Ok(())
}
