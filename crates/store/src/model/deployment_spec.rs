use std::fmt;

use certward_pki::{DeviceIdentity, HostName, Profile};

use crate::{ConnectionLimit, ConnectionLimits, Proxy, ProxyProtocol, RecordBytes, UpstreamList};

/// What operators set of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentSpec {
    /// For people; may be empty.
    pub name: String,
    /// The broker's plain MQTT addresses.
    pub upstream: UpstreamList,
    /// The broker's plain WebSocket addresses, if it has one.
    pub ws_upstream: Option<UpstreamList>,
    /// The names that select it by SNI, in the order given.
    pub hosts: Vec<HostName>,
    /// How strictly its uploads are judged.
    pub profile: Profile,
    /// The PROXY protocol towards its broker.
    pub proxy: Proxy,
    /// Connection limits, per node.
    pub limits: ConnectionLimits,
    /// The largest TLS record sent to its devices.
    pub record_bytes: RecordBytes,
}

/// A change of a [`DeploymentSpec`]; `None` leaves a field.
#[derive(Debug, Clone, Default)]
pub struct DeploymentPatch {
    /// For people.
    pub name: Option<String>,
    /// The broker's plain MQTT addresses.
    pub upstream: Option<UpstreamList>,
    /// The broker's plain WebSocket addresses; `Some(None)` removes them.
    pub ws_upstream: Option<Option<UpstreamList>>,
    /// All its names.
    pub hosts: Option<Vec<HostName>>,
    /// For later uploads.
    pub profile: Option<Profile>,
    /// PROXY protocol version, if any.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// The device name sent to the broker.
    pub proxy_identity: Option<DeviceIdentity>,
    /// At once per node; `Some(None)`: no limit. Live connections stay.
    pub connections_at_once: Option<Option<ConnectionLimit>>,
    /// New per node and second; `Some(None)`: no limit.
    pub connections_per_second: Option<Option<ConnectionLimit>>,
    /// The largest TLS record, for new connections.
    pub record_bytes: Option<RecordBytes>,
}

impl DeploymentSpec {
    /// The defaults; the upstream has no default.
    pub fn new(upstream: UpstreamList) -> Self {
        Self {
            name: String::new(),
            upstream,
            ws_upstream: None,
            hosts: Vec::new(),
            profile: Profile::default(),
            proxy: Proxy::default(),
            limits: ConnectionLimits::default(),
            record_bytes: RecordBytes::default(),
        }
    }
}

impl fmt::Display for DeploymentSpec {
    /// The audit's form, without the name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "upstream {}, {} hosts, profile {}, proxy {} {}, {}, records {}",
            self.upstream,
            self.hosts.len(),
            self.profile,
            self.proxy.protocol,
            self.proxy.identity,
            self.limits,
            self.record_bytes.get(),
        )
    }
}

impl DeploymentPatch {
    /// `spec` with the changes.
    pub fn applied_to(self, spec: DeploymentSpec) -> DeploymentSpec {
        DeploymentSpec {
            name: self.name.unwrap_or(spec.name),
            upstream: self.upstream.unwrap_or(spec.upstream),
            ws_upstream: self.ws_upstream.unwrap_or(spec.ws_upstream),
            hosts: self.hosts.unwrap_or(spec.hosts),
            profile: self.profile.unwrap_or(spec.profile),
            proxy: Proxy {
                protocol: self.proxy_protocol.unwrap_or(spec.proxy.protocol),
                identity: self.proxy_identity.unwrap_or(spec.proxy.identity),
            },
            limits: ConnectionLimits {
                at_once: self.connections_at_once.unwrap_or(spec.limits.at_once),
                per_second: self.connections_per_second.unwrap_or(spec.limits.per_second),
            },
            record_bytes: self.record_bytes.unwrap_or(spec.record_bytes),
        }
    }
}
