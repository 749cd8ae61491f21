use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::api_limit::ApiLimit;

/// From a memory read (1 ms) to `Prefer: wait=60` (60 s).
const REQUEST_BUCKETS: [f64; 8] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0];

/// Faults of this program or its store. Their series exist from the start, because alerts ask for
/// them; all combinations with other statuses would be hundreds.
const FAULTS: [u16; 2] = [500, 503];

/// The API's metrics. Labels come from closed lists, so clients cannot add series.
#[derive(Debug, Clone)]
pub struct ApiMetrics {
    pub(crate) requests: Family<RequestLabels, Counter>,
    pub(crate) seconds: Histogram,
    pub(crate) connections: Gauge,
    pub(crate) connections_evicted: Counter,
    pub(crate) failed_logins: Counter,
    pub(crate) rate_limited: Counter,
    limits_hit: Family<ApiLimitLabel, Counter>,
}

/// Labels of `certward_api_requests_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    pub(crate) method: &'static str,
    pub(crate) route: String,
    pub(crate) status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLimitLabel {
    limit: &'static str,
}

impl ApiMetrics {
    /// `operations`: methods and paths.
    pub(crate) fn registered(registry: &mut Registry, operations: &[(&'static str, String)]) -> Self {
        let metrics = Self {
            requests: Family::default(),
            seconds: Histogram::new(REQUEST_BUCKETS),
            connections: Gauge::default(),
            connections_evicted: Counter::default(),
            failed_logins: Counter::default(),
            rate_limited: Counter::default(),
            limits_hit: Family::default(),
        };
        for (method, route) in operations {
            for status in FAULTS {
                drop(metrics.requests.get_or_create(&RequestLabels { method, route: route.clone(), status }));
            }
        }
        for limit in ApiLimit::ALL {
            drop(metrics.limits_hit.get_or_create(&ApiLimitLabel { limit: limit.as_str() }));
        }
        metrics.register(registry.sub_registry_with_prefix("certward_api"));
        metrics
    }

    fn register(&self, registry: &mut Registry) {
        registry.register(
            "requests",
            "Requests answered, by method, route and status; of the statuses only 500 and 503 exist before they occur",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "request",
            "Time to answer a request, with the wait that Prefer asks for",
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry.register("connections", "Open connections of the API", self.connections.clone());
        registry.register(
            "connections_evicted",
            "Connections closed to make room for others: more clients than places, or an attack; the log names an \
             address",
            self.connections_evicted.clone(),
        );
        registry.register(
            "failed_logins",
            "Requests with a key or secret that is not valid",
            self.failed_logins.clone(),
        );
        registry.register(
            "rate_limited",
            "Requests refused with 429 because their key used up the window; a program that polls can use Prefer: wait",
            self.rate_limited.clone(),
        );
        registry.register(
            "limits_hit",
            "Requests and connections that a limit of the API refused or closed (limits.md)",
            self.limits_hit.clone(),
        );
    }

    pub(crate) fn limit_hit(&self, limit: ApiLimit) {
        self.limits_hit.get_or_create(&ApiLimitLabel { limit: limit.as_str() }).inc();
    }
}
