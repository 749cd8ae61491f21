use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// The API's metrics. Labels come from closed lists, so clients cannot add series.
#[derive(Debug, Clone)]
pub struct ApiMetrics {
    pub(crate) requests: Family<RequestLabels, Counter>,
    pub(crate) seconds: Histogram,
    pub(crate) connections: Gauge,
    pub(crate) connections_evicted: Counter,
    pub(crate) failed_logins: Counter,
    pub(crate) rate_limited: Counter,
}

/// Labels of `certward_api_requests_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    pub(crate) method: &'static str,
    pub(crate) route: String,
    pub(crate) status: u16,
}

/// Registers the metrics `certward_api_…`.
pub fn register_metrics(registry: &mut Registry) -> ApiMetrics {
    let metrics = ApiMetrics {
        requests: Family::default(),
        // From a memory read (1 ms) to `Prefer: wait=60` (60 s).
        seconds: Histogram::new([0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0]),
        connections: Gauge::default(),
        connections_evicted: Counter::default(),
        failed_logins: Counter::default(),
        rate_limited: Counter::default(),
    };
    registry.register("certward_api_requests", "Requests answered", metrics.requests.clone());
    registry.register("certward_api_request_seconds", "Time to answer", metrics.seconds.clone());
    registry.register("certward_api_connections", "Open connections", metrics.connections.clone());
    registry.register(
        "certward_api_connections_evicted",
        "Connections closed to make room for others",
        metrics.connections_evicted.clone(),
    );
    registry.register(
        "certward_api_failed_logins",
        "Requests without a valid key",
        metrics.failed_logins.clone(),
    );
    registry.register("certward_api_rate_limited", "Requests refused with 429", metrics.rate_limited.clone());
    metrics
}
