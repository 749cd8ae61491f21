use std::fmt;

use certward_pki::{DeviceIdentity, HostName, Profile};

use crate::{ConnectionLimit, ConnectionLimits, Proxy, ProxyProtocol, RecordBytes, SessionAge, UpstreamList};

/// A deployment's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentSpec {
    /// For people; may be empty.
    pub name: String,
    /// Plain MQTT addresses.
    pub upstream: UpstreamList,
    /// Plain WebSocket addresses, if any.
    pub ws_upstream: Option<UpstreamList>,
    /// Names that select it by SNI, in the order given.
    pub hosts: Vec<HostName>,
    /// How uploads are judged.
    pub profile: Profile,
    /// The PROXY protocol header.
    pub proxy: Proxy,
    /// Connection limits.
    pub limits: ConnectionLimits,
    /// The largest TLS record.
    pub record_bytes: RecordBytes,
    /// How long a session may last. `None`: without end.
    pub max_session_age: Option<SessionAge>,
}

/// A change of a [`DeploymentSpec`]; `None` leaves a field.
#[derive(Debug, Clone, Default)]
pub struct DeploymentPatch {
    /// For people.
    pub name: Option<String>,
    /// Plain MQTT addresses.
    pub upstream: Option<UpstreamList>,
    /// Plain WebSocket addresses; `Some(None)` removes them.
    pub ws_upstream: Option<Option<UpstreamList>>,
    /// All its names.
    pub hosts: Option<Vec<HostName>>,
    /// For later uploads.
    pub profile: Option<Profile>,
    /// The dialect, if any.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// The device's name.
    pub proxy_identity: Option<DeviceIdentity>,
    /// At once per node; `Some(None)`: no limit. Live connections stay.
    pub connections_at_once: Option<Option<ConnectionLimit>>,
    /// New per node and second; `Some(None)`: no limit.
    pub connections_per_second: Option<Option<ConnectionLimit>>,
    /// For new connections.
    pub record_bytes: Option<RecordBytes>,
    /// Of live sessions too; `Some(None)`: without end.
    pub max_session_age: Option<Option<SessionAge>>,
}

impl DeploymentSpec {
    /// The defaults, with this upstream.
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
            max_session_age: None,
        }
    }
}

impl fmt::Display for DeploymentSpec {
    /// The audit's form, without the name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "upstream {}, {} hosts, profile {}, proxy {} {}, {}, records {}, session age {}",
            self.upstream,
            self.hosts.len(),
            self.profile,
            self.proxy.protocol,
            self.proxy.identity,
            self.limits,
            self.record_bytes.get(),
            SessionAge::number(self.max_session_age),
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
            max_session_age: self.max_session_age.unwrap_or(spec.max_session_age),
        }
    }
}
