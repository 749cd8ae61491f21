use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::Protocol;

/// No label names a deployment: a million would be a million series.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    connections: Gauge,
    handshakes: Family<HandshakeLabels, Counter>,
    handshake_failures: Family<CauseLabel, Counter>,
    refused: Family<ReasonLabel, Counter>,
    proxy_headers: Family<StatedLabel, Counter>,
    upstream_failures: Family<ReasonLabel, Counter>,
    upstreams_down: Gauge,
    upstream_changes: Family<HealthLabel, Counter>,
    closed: Family<ReasonLabel, Counter>,
    loads: Family<ResultLabel, Counter>,
    proofs: Family<ResultLabel, Counter>,
    snapshot_whole: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct HandshakeLabels {
    protocol: &'static str,
    version: &'static str,
    resumed: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CauseLabel {
    cause: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
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

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("certward_gateway");
        registry.register("connections", "Devices connected now", self.connections.clone());
        registry.register("handshakes", "Handshakes done", self.handshakes.clone());
        registry.register("handshake_failures", "Handshakes that failed", self.handshake_failures.clone());
        registry.register("proxy_headers", "PROXY headers of load balancers", self.proxy_headers.clone());
        registry.register("refused", "Connections refused beside the handshake", self.refused.clone());
        registry.register("upstream_failures", "Brokers not reached", self.upstream_failures.clone());
        registry.register(
            "upstreams_down",
            "Addresses of brokers that are tried after all others",
            self.upstreams_down.clone(),
        );
        registry.register(
            "upstream_changes",
            "Addresses of brokers that went down or came up",
            self.upstream_changes.clone(),
        );
        registry.register("closed", "Connections ended, by who or what ended them", self.closed.clone());
        registry.register("config_loads", "Configurations built", self.loads.clone());
        registry.register("proofs", "Proofs of a generation", self.proofs.clone());
        registry.register(
            "snapshot_whole",
            "Whether this node could start while the database is away",
            self.snapshot_whole.clone(),
        );
    }

    pub(crate) fn connected(&self) {
        self.connections.inc();
    }

    pub(crate) fn disconnected(&self) {
        self.connections.dec();
    }

    pub(crate) fn handshake(&self, protocol: Protocol, version: &'static str, resumed: bool) {
        let resumed = if resumed { "true" } else { "false" };
        let labels = HandshakeLabels { protocol: protocol.as_str(), version, resumed };
        self.handshakes.get_or_create(&labels).inc();
    }

    pub(crate) fn handshake_failed(&self, cause: &'static str) {
        self.handshake_failures.get_or_create(&CauseLabel { cause }).inc();
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(crate) fn proxy_header(&self, stated: &'static str) {
        self.proxy_headers.get_or_create(&StatedLabel { stated }).inc();
    }

    pub(crate) fn upstream_failed(&self, reason: &'static str) {
        self.upstream_failures.get_or_create(&ReasonLabel { reason }).inc();
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

    pub(crate) fn closed(&self, reason: &'static str) {
        self.closed.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(crate) fn loaded(&self, well: bool) {
        self.loads.get_or_create(&result(well)).inc();
    }

    pub(crate) fn proven(&self, well: bool) {
        self.proofs.get_or_create(&result(well)).inc();
    }

    pub(crate) fn snapshot(&self, is_whole: bool) {
        self.snapshot_whole.set(i64::from(is_whole));
    }
}

fn result(well: bool) -> ResultLabel {
    ResultLabel { result: if well { "ok" } else { "failed" } }
}
