use std::{sync::Arc, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
    },
    registry::{Registry, Unit},
};

use crate::{
    Protocol,
    observe::{
        cause::Cause,
        reason::{ClosedReason, GatewayLimit, RefusedReason, Unrecorded},
        relayed_bytes::{RelayedBytes, RelayedBytesCollector},
    },
    upstream::{NO_ANSWER, Unreachable},
};

/// From a handshake on the same machine (1 ms) to `handshake_within` (10 s by default).
const HANDSHAKE_BUCKETS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// From a broker on the same machine (0.1 ms) to the deadline (5 s).
const UPSTREAM_CONNECT_BUCKETS: [f64; 12] =
    [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 0.5, 1.0, 5.0];
/// From one entry point on an idle node (10 ms) to `prove_within` (60 s by default).
const PROOF_BUCKETS: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

const TLS_VERSIONS: [&str; 3] = ["1.2", "1.3", "other"];
const BOOLEANS: [&str; 2] = ["true", "false"];
const RESULTS: [&str; 2] = ["ok", "failed"];
/// The deployment has no upstream for the listener's protocol.
pub(crate) const NOT_CONFIGURED: &str = "not_configured";

/// No label names a deployment: a million would be a million series. All labels are of closed
/// lists, and all series exist from the start: `rate()` misses the first event of a new one.
#[derive(Debug)]
pub(crate) struct Metrics {
    connections: Gauge,
    handshakes: Family<HandshakeLabels, Counter>,
    handshake_seconds: Timings<ResumedLabel>,
    handshake_failures: Family<CauseLabel, Counter>,
    refused: Family<RefusedLabel, Counter>,
    limits_hit: Family<GatewayLimitLabel, Counter>,
    proxy_headers: Family<StatedLabel, Counter>,
    upstream_failures: Family<UnreachableLabel, Counter>,
    upstream_connect_seconds: Histogram,
    broker_troubles: Family<UnreachableLabel, Gauge>,
    upstreams_down: Gauge,
    upstream_changes: Family<HealthLabel, Counter>,
    closed: Family<ClosedLabel, Counter>,
    relayed: Arc<RelayedBytes>,
    unrecorded: Family<UnrecordedLabel, Counter>,
    loads: Family<ResultLabel, Counter>,
    proofs: Family<ResultLabel, Counter>,
    proof_seconds: Timings<ResultLabel>,
    snapshot_whole: Gauge,
}

/// A histogram for each of some labels.
type Timings<L> = Family<L, Histogram, Buckets>;

#[derive(Debug, Clone)]
struct Buckets(&'static [f64]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct HandshakeLabels {
    protocol: &'static str,
    version: &'static str,
    resumed: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResumedLabel {
    resumed: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CauseLabel {
    cause: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RefusedLabel {
    reason: RefusedReason,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct GatewayLimitLabel {
    limit: GatewayLimit,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ClosedLabel {
    reason: ClosedReason,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct UnrecordedLabel {
    what: Unrecorded,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct UnreachableLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct HealthLabel {
    to: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StatedLabel {
    stated: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let handshakes = [Protocol::Mqtts, Protocol::Wss].into_iter().flat_map(|protocol| {
            TLS_VERSIONS.into_iter().flat_map(move |version| {
                let protocol = protocol.as_str();
                BOOLEANS.map(move |resumed| HandshakeLabels { protocol, version, resumed })
            })
        });
        let results = || RESULTS.map(|result| ResultLabel { result });
        let unreachable = || Unreachable::REASONS.into_iter().chain([NOT_CONFIGURED]);
        let troubles = Family::<_, Gauge>::default();
        for reason in unreachable().chain([NO_ANSWER]) {
            drop(troubles.get_or_create(&UnreachableLabel { reason }));
        }
        Self {
            connections: Gauge::default(),
            handshakes: of_zero(handshakes),
            handshake_seconds: timings(&HANDSHAKE_BUCKETS, BOOLEANS.map(|resumed| ResumedLabel { resumed })),
            handshake_failures: of_zero(Cause::ALL.iter().map(|cause| CauseLabel { cause: cause.as_str() })),
            refused: of_zero(RefusedReason::ALL.iter().map(|&reason| RefusedLabel { reason })),
            limits_hit: of_zero(GatewayLimit::ALL.iter().map(|&limit| GatewayLimitLabel { limit })),
            proxy_headers: of_zero(["address", "nothing"].map(|stated| StatedLabel { stated })),
            upstream_failures: of_zero(unreachable().map(|reason| UnreachableLabel { reason })),
            upstream_connect_seconds: Histogram::new(UPSTREAM_CONNECT_BUCKETS),
            broker_troubles: troubles,
            upstreams_down: Gauge::default(),
            upstream_changes: of_zero(["down", "up"].map(|to| HealthLabel { to })),
            closed: of_zero(ClosedReason::ALL.iter().map(|&reason| ClosedLabel { reason })),
            relayed: Arc::default(),
            unrecorded: of_zero(Unrecorded::ALL.iter().map(|&what| UnrecordedLabel { what })),
            loads: of_zero(results()),
            proofs: of_zero(results()),
            proof_seconds: timings(&PROOF_BUCKETS, results()),
            snapshot_whole: Gauge::default(),
        }
    }
}

impl Metrics {
    /// `has_replica`: else there is no snapshot whose absence could be an alert.
    pub(crate) fn register(&self, registry: &mut Registry, has_replica: bool) {
        let registry = registry.sub_registry_with_prefix("certward_gateway");
        registry.register("connections", "Devices connected now", self.connections.clone());
        registry.register("handshakes", "Handshakes completed", self.handshakes.clone());
        registry.register_with_unit(
            "handshake",
            "Time from accepting a connection to the end of its handshake, with the wait for the device and in the \
             handshake queue; failed handshakes are not in it",
            Unit::Seconds,
            self.handshake_seconds.clone(),
        );
        registry.register(
            "handshake_failures",
            "Handshakes that failed, by cause (handshake-failures.md); a jump after a change means that devices do not trust the new \
             certificate, or certward does not trust theirs",
            self.handshake_failures.clone(),
        );
        registry.register(
            "proxy_headers",
            "PROXY headers received from load balancers: with an address, or with nothing (health checks)",
            self.proxy_headers.clone(),
        );
        registry.register(
            "refused",
            "Connections refused by a limit of the node, or that could not be accepted",
            self.refused.clone(),
        );
        registry.register(
            "limits_hit",
            "Connections that a limit of the node or of a deployment refused or closed (limits.md); each is also in \
             another metric, by its reason or cause",
            self.limits_hit.clone(),
        );
        registry.register(
            "upstream_failures",
            "Connections closed because their broker was not reached, by reason (brokers.md)",
            self.upstream_failures.clone(),
        );
        registry.register_with_unit(
            "upstream_connect",
            "Time to reach a broker for one connection, with the look-up of its name and all addresses tried; \
             failures are not in it",
            Unit::Seconds,
            self.upstream_connect_seconds.clone(),
        );
        registry.register(
            "broker_troubles",
            "Deployments' brokers that devices of this node cannot use now, by reason (brokers.md); a deployment's \
             brokers for mqtts and wss count apart",
            self.broker_troubles.clone(),
        );
        registry.register(
            "upstreams_down",
            "Addresses of brokers that did not answer the last time, and are tried after all others",
            self.upstreams_down.clone(),
        );
        registry.register(
            "upstream_changes",
            "Addresses of brokers that went down or came up again",
            self.upstream_changes.clone(),
        );
        registry.register(
            "closed",
            "Connections closed after their handshake, by who or what closed them",
            self.closed.clone(),
        );
        registry.register_collector(Box::new(RelayedBytesCollector(Arc::clone(&self.relayed))));
        registry.register(
            "devices_not_recorded",
            "Sightings of devices and hosts, and sessions with their offers, that are left out of what is known of devices, \
             because a bound in memory is reached (monitoring.md)",
            self.unrecorded.clone(),
        );
        registry.register(
            "config_loads",
            "TLS configurations built; failed is stored material that cannot be served, see the log",
            self.loads.clone(),
        );
        registry.register(
            "proofs",
            "Proofs of a change on this node; failed that continues is a change that does not become running",
            self.proofs.clone(),
        );
        registry.register_with_unit(
            "proof",
            "Time of a proof through all entry points of the deployment on this node",
            Unit::Seconds,
            self.proof_seconds.clone(),
        );
        if has_replica {
            registry.register(
                "snapshot_whole",
                "1 if this node could start while the database is away; PostgreSQL only",
                self.snapshot_whole.clone(),
            );
        }
    }

    pub(crate) fn connected(&self) {
        self.connections.inc();
    }

    pub(crate) fn disconnected(&self) {
        self.connections.dec();
    }

    pub(crate) fn handshake(
        &self,
        protocol: Protocol,
        version: Option<&'static str>,
        resumed: bool,
        took: Duration,
    ) {
        let resumed = if resumed { "true" } else { "false" };
        let version = version.unwrap_or("other");
        let labels = HandshakeLabels { protocol: protocol.as_str(), version, resumed };
        self.handshakes.get_or_create(&labels).inc();
        self.handshake_seconds.get_or_create(&ResumedLabel { resumed }).observe(took.as_secs_f64());
    }

    pub(crate) fn handshake_failed(&self, cause: Cause) {
        self.handshake_failures.get_or_create(&CauseLabel { cause: cause.as_str() }).inc();
        match cause {
            Cause::DeploymentConnectionsMax => self.limit_hit(GatewayLimit::DeploymentConnectionsMax),
            Cause::DeploymentConnectionRate => self.limit_hit(GatewayLimit::DeploymentConnectionRate),
            Cause::Displaced => self.limit_hit(GatewayLimit::UnfinishedConnections),
            _ => {}
        }
    }

    pub(crate) fn refused(&self, reason: RefusedReason) {
        self.refused.get_or_create(&RefusedLabel { reason }).inc();
        match reason {
            RefusedReason::ConnectionsMax => self.limit_hit(GatewayLimit::ConnectionsMax),
            RefusedReason::ConnectionsPerAddressMax => self.limit_hit(GatewayLimit::ConnectionsPerAddressMax),
            RefusedReason::Displaced => self.limit_hit(GatewayLimit::UnfinishedConnections),
            // Usually: out of file descriptors.
            RefusedReason::AcceptFailed => self.limit_hit(GatewayLimit::OpenFiles),
        }
    }

    pub(crate) fn proxy_header(&self, stated: &'static str) {
        self.proxy_headers.get_or_create(&StatedLabel { stated }).inc();
    }

    pub(crate) fn upstream_connected(&self, took: Duration) {
        self.upstream_connect_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn upstream_failed(&self, unreachable: &Unreachable) {
        self.upstream_failures.get_or_create(&UnreachableLabel { reason: unreachable.reason() }).inc();
        match unreachable {
            Unreachable::Crowded => self.limit_hit(GatewayLimit::UpstreamConnects),
            Unreachable::OutOfFiles(_) => self.limit_hit(GatewayLimit::OpenFiles),
            Unreachable::SourcePortsExhausted(_) => self.limit_hit(GatewayLimit::SourcePorts),
            _ => {}
        }
    }

    pub(crate) fn upstream_not_configured(&self) {
        self.upstream_failures.get_or_create(&UnreachableLabel { reason: NOT_CONFIGURED }).inc();
    }

    /// A deployment's broker is in trouble for another reason, or no reason.
    pub(crate) fn broker_trouble(&self, before: Option<&'static str>, after: Option<&'static str>) {
        let gauge = |reason| self.broker_troubles.get_or_create_owned(&UnreachableLabel { reason });
        if let Some(reason) = before {
            gauge(reason).dec();
        }
        if let Some(reason) = after {
            gauge(reason).inc();
        }
    }

    pub(crate) fn upstream_down(&self) {
        self.upstreams_down.inc();
        self.upstream_changes.get_or_create(&HealthLabel { to: "down" }).inc();
    }

    pub(crate) fn upstream_up(&self) {
        self.upstreams_down.dec();
        self.upstream_changes.get_or_create(&HealthLabel { to: "up" }).inc();
    }

    /// An unused endpoint that is down was dropped.
    pub(crate) fn upstream_forgotten(&self) {
        self.upstreams_down.dec();
    }

    pub(crate) fn closed(&self, reason: ClosedReason) {
        self.closed.get_or_create(&ClosedLabel { reason }).inc();
        if reason == ClosedReason::Displaced {
            self.limit_hit(GatewayLimit::UnfinishedConnections);
        }
    }

    pub(crate) fn not_recorded(&self, what: Unrecorded, count: usize) {
        if count > 0 {
            self.unrecorded.get_or_create(&UnrecordedLabel { what }).inc_by(count as u64);
        }
    }

    pub(crate) fn relayed(&self) -> &RelayedBytes {
        &self.relayed
    }

    pub(crate) fn loaded(&self, well: bool) {
        self.loads.get_or_create(&result(well)).inc();
    }

    pub(crate) fn proven(&self, well: bool, took: Duration) {
        self.proofs.get_or_create(&result(well)).inc();
        self.proof_seconds.get_or_create(&result(well)).observe(took.as_secs_f64());
    }

    pub(crate) fn snapshot(&self, is_whole: bool) {
        self.snapshot_whole.set(i64::from(is_whole));
    }

    #[cfg(test)]
    pub(crate) fn count_of_unrecorded(&self, what: Unrecorded) -> u64 {
        self.unrecorded.get_or_create(&UnrecordedLabel { what }).get()
    }

    fn limit_hit(&self, limit: GatewayLimit) {
        self.limits_hit.get_or_create(&GatewayLimitLabel { limit }).inc();
    }
}

fn result(well: bool) -> ResultLabel {
    ResultLabel { result: if well { "ok" } else { "failed" } }
}

/// Counters that exist from the start.
fn of_zero<L>(labels: impl IntoIterator<Item = L>) -> Family<L, Counter>
where
    L: Clone + std::hash::Hash + Eq,
{
    let family = Family::default();
    labels.into_iter().for_each(|labels| drop(family.get_or_create(&labels)));
    family
}

/// Histograms that exist from the start.
fn timings<L>(buckets: &'static [f64], labels: impl IntoIterator<Item = L>) -> Timings<L>
where
    L: Clone + std::hash::Hash + Eq,
{
    let family = Family::new_with_constructor(Buckets(buckets));
    labels.into_iter().for_each(|labels| drop(family.get_or_create(&labels)));
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(metrics: &Metrics) -> String {
        let mut registry = Registry::default();
        metrics.register(&mut registry, true);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    /// The series of a page, without their values.
    fn series(page: &str) -> Vec<&str> {
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        samples.filter_map(|line| line.rsplit_once(' ').map(|(series, _)| series)).collect()
    }

    #[test]
    fn every_series_that_can_occur_exists_from_the_start() {
        let metrics = Metrics::default();
        let before = page(&metrics);
        for protocol in [Protocol::Mqtts, Protocol::Wss] {
            for version in [None, Some("1.2"), Some("1.3")] {
                for resumed in [true, false] {
                    metrics.handshake(protocol, version, resumed, Duration::ZERO);
                }
            }
        }
        Cause::ALL.iter().for_each(|&cause| metrics.handshake_failed(cause));
        ClosedReason::ALL.iter().for_each(|&reason| metrics.closed(reason));
        RefusedReason::ALL.iter().for_each(|&reason| metrics.refused(reason));
        Unrecorded::ALL.iter().for_each(|&what| metrics.not_recorded(what, 1));
        GatewayLimit::ALL.iter().for_each(|&limit| metrics.limit_hit(limit));
        Unreachable::examples().iter().for_each(|failure| metrics.upstream_failed(failure));
        metrics.upstream_not_configured();
        metrics.broker_trouble(None, Some(NO_ANSWER));
        metrics.broker_trouble(Some(NO_ANSWER), Some(NOT_CONFIGURED));
        metrics.upstream_down();
        metrics.upstream_up();
        for well in [true, false] {
            metrics.loaded(well);
            metrics.proven(well, Duration::ZERO);
        }
        metrics.upstream_connected(Duration::ZERO);
        metrics.relayed().to_broker(1);
        metrics.relayed().to_device(1);
        let after = page(&metrics);
        let (mut before, mut after) = (series(&before), series(&after));
        before.sort_unstable();
        after.sort_unstable();
        assert_eq!(before, after);
    }

    #[test]
    fn a_node_without_a_replica_says_nothing_of_its_snapshot() {
        let mut registry = Registry::default();
        Metrics::default().register(&mut registry, false);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("certward_gateway_connections") && !text.contains("snapshot_whole"), "{text}");
    }
}
