//! The expiry task: lists what ends, records alerts, and delivers them.

use std::time::Duration;

use certward_api::Reloader;
use certward_lifecycle::{AlertDelivery, Delivered, ExpiryWatch, Lifecycle, Pace, periodically};
use certward_store::{NodeId, Store, StoreError};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use tokio::{sync::Mutex, time::timeout};
use tokio_util::sync::CancellationToken;

/// Three look-ups in indices.
const TURN_INTERVAL: Duration = Duration::from_secs(5);
/// After a change: several are listed at once.
const CHANGE_PAUSE: Duration = Duration::from_millis(200);
/// Devices are noted once an hour.
const CLIENT_CAS_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// One look-up in an index.
const DELIVERY_INTERVAL: Duration = Duration::from_secs(2);

/// Metrics of alerts.
#[derive(Debug, Clone, Default)]
pub(super) struct AlertMetrics {
    recorded: Counter,
    deliveries: Family<DeliveryLabel, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DeliveryLabel {
    result: &'static str,
}

impl AlertMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for result in ["delivered", "retried", "failed"] {
            drop(metrics.deliveries.get_or_create(&DeliveryLabel { result }));
        }
        let registry = registry.sub_registry_with_prefix("certward");
        registry.register("alerts", "Alerts about expiry recorded by this node", metrics.recorded.clone());
        registry.register(
            "alert_deliveries",
            "Attempts of this node to deliver an alert; failed: no attempt remains",
            metrics.deliveries.clone(),
        );
        metrics
    }

    fn count(&self, done: Delivered) {
        let Delivered { delivered, retried, failed } = done;
        for (result, count) in [("delivered", delivered), ("retried", retried), ("failed", failed)] {
            self.deliveries.get_or_create(&DeliveryLabel { result }).inc_by(count);
        }
    }
}

/// The work of a node with the API.
pub(super) struct ExpiryTask {
    lifecycle: Lifecycle,
    store: Store,
    node: NodeId,
    watch: ExpiryWatch,
    delivery: AlertDelivery,
    api_certificate: Option<Reloader>,
    metrics: AlertMetrics,
}

impl ExpiryTask {
    pub(super) fn new(
        lifecycle: &Lifecycle,
        node: NodeId,
        api_certificate: Option<Reloader>,
        metrics: AlertMetrics,
    ) -> Self {
        Self {
            lifecycle: lifecycle.clone(),
            store: lifecycle.store().clone(),
            node,
            watch: lifecycle.expiry_watch(),
            delivery: lifecycle.alert_delivery(),
            api_certificate,
            metrics,
        }
    }

    pub(super) async fn run(
        self,
        begin: CancellationToken,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            () = begin.cancelled() => {}
        }
        let Self { lifecycle, store, node, watch, delivery, api_certificate, metrics } = self;
        // An unreachable store is reported by the tasks.
        let channels = store.read().alert_channels().await.unwrap_or_default();
        if !delivery.may_send() && !channels.is_empty() {
            tracing::warn!(
                channels = channels.len(),
                "this node sends no alerts: [alerts] alert_allow of its configuration is empty"
            );
        }
        let watched = Mutex::new(watch);
        let watch = || async {
            // Before the work, which may miss a later change.
            let changed = store.changed();
            let mut watch = watched.lock().await;
            let leaf = api_certificate.as_ref().map(Reloader::leaf);
            watch.list_api_certificate(&node, leaf.as_deref()).await?;
            let alerts = watch.turn(store.now().await?).await?;
            metrics.recorded.inc_by(alerts.len() as u64);
            // The end of the interval is as good as a change.
            let _ = timeout(TURN_INTERVAL, changed).await;
            Ok::<_, StoreError>(())
        };
        // Waits for receivers, so it has a loop of its own.
        let deliver = || async {
            metrics.count(delivery.turn().await?);
            Ok::<_, StoreError>(())
        };
        let watch_client_cas = || async {
            let alerts = lifecycle.watch_client_cas().await?;
            metrics.recorded.inc_by(alerts.len() as u64);
            Ok::<_, StoreError>(())
        };
        let (end, end_of_client_cas) = (shutdown.clone(), shutdown.clone());
        let hourly = Pace::Later(CLIENT_CAS_INTERVAL);
        tokio::join!(
            periodically(
                "the use of client CAs cannot be judged",
                hourly,
                &store,
                end_of_client_cas,
                watch_client_cas
            ),
            periodically("what ends cannot be listed", Pace::AtOnce(CHANGE_PAUSE), &store, end, watch),
            periodically("alerts cannot be sent", Pace::AtOnce(DELIVERY_INTERVAL), &store, shutdown, deliver),
        );
        Ok(())
    }
}
