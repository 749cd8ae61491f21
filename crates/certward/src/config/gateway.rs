use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use certward_store::{DeploymentId, Nat64};
use serde::{Deserialize, Deserializer, de::Error};

use super::Network;

/// `[gateway]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct GatewaySection {
    /// `[[gateway.listener]]`: `mqtts` on `[::]:8883`, `wss` on `[::]:8084`; a list replaces both
    /// and is not empty.
    pub(crate) listener: Option<Vec<ListenerSection>>,
    /// For clients without SNI, or an unknown one, on shared listeners: none.
    #[serde(deserialize_with = "optional_deployment")]
    pub(crate) default_deployment: Option<DeploymentId>,
    /// Networks of upstreams (`10.0.0.0/8`, `fd00::/8`, `192.0.2.7`): all but link-local,
    /// multicast, unspecified and certward's own listeners.
    pub(crate) upstream_allow: Option<Vec<Network>>,
    /// NAT64 prefixes (`2001:db8:64::/96`), beside the well-known ones: none.
    #[serde(deserialize_with = "nat64")]
    pub(crate) upstream_nat64: Nat64,
    /// Local addresses to dial brokers from, one at random each: the system chooses.
    #[serde(deserialize_with = "super::upstream_source::addresses")]
    pub(crate) upstream_source: Vec<IpAddr>,
    /// Connections per device address: no limit; 1 to 1,000,000.
    #[serde(deserialize_with = "connections")]
    pub(crate) connections_per_address: Option<u32>,
    /// From accept to the end of the handshake: `10s`; 1 s to 5 min.
    #[serde(deserialize_with = "super::duration::device")]
    pub(crate) handshake_within: Duration,
    /// From there to the first byte of CONNECT or HTTP: `10s`; 1 s to 5 min.
    #[serde(deserialize_with = "super::duration::device")]
    pub(crate) connect_within: Duration,
    /// For the proof of a change, else it is `failed`: `60s`; 1 s to 1 h.
    #[serde(deserialize_with = "super::duration::prove_within")]
    pub(crate) prove_within: Duration,
    /// `30s`; 0 s to 1 h.
    #[serde(deserialize_with = "super::duration::drain")]
    pub(crate) drain: Duration,
    /// Service of two-way deployments after the last read of changes: `serve`, without end; or 10 s
    /// to 31 d.
    #[serde(deserialize_with = "super::duration::stale_trust")]
    pub(crate) stale_trust: Option<Duration>,
    /// Sessions whose client certificate ends: `keep`, or `close`.
    pub(crate) expired_sessions: ExpiredSessionsSetting,
    /// What is kept of devices: `full`; `counts`, without devices by their certificates; `off`.
    pub(crate) devices: DevicesSetting,
}

impl Default for GatewaySection {
    fn default() -> Self {
        Self {
            listener: None,
            default_deployment: None,
            upstream_allow: None,
            upstream_nat64: Nat64::WELL_KNOWN_ONLY,
            upstream_source: Vec::new(),
            connections_per_address: None,
            handshake_within: Duration::from_secs(10),
            connect_within: Duration::from_secs(10),
            prove_within: Duration::from_secs(60),
            drain: Duration::from_secs(30),
            stale_trust: None,
            expired_sessions: ExpiredSessionsSetting::default(),
            devices: DevicesSetting::default(),
        }
    }
}

impl GatewaySection {
    pub(crate) fn listeners(&self) -> Vec<certward_gateway::Listener> {
        let Some(listeners) = &self.listener else { return certward_gateway::Listener::defaults() };
        let convert = |listener: &ListenerSection| certward_gateway::Listener {
            listen: listener.listen,
            protocol: match listener.protocol {
                ListenerProtocol::Mqtts => certward_gateway::Protocol::Mqtts,
                ListenerProtocol::Wss => certward_gateway::Protocol::Wss,
            },
            deployment: listener.deployment.clone(),
            or_ipv4: false,
            proxy_protocol_from: listener.proxy_protocol_from.iter().map(|network| network.0).collect(),
        };
        listeners.iter().map(convert).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename = "Listener", deny_unknown_fields)]
pub(crate) struct ListenerSection {
    /// Port 0: the system chooses, the log has the port.
    #[serde(deserialize_with = "super::address::socket_address")]
    pub(crate) listen: SocketAddr,
    pub(crate) protocol: ListenerProtocol,
    /// For any SNI; without it the listener is shared.
    #[serde(default, deserialize_with = "optional_deployment")]
    pub(crate) deployment: Option<DeploymentId>,
    /// Networks of load balancers that send a PROXY header (1 or 2): none.
    #[serde(default)]
    pub(crate) proxy_protocol_from: Vec<Network>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ListenerProtocol {
    Mqtts,
    /// MQTT over WebSocket.
    Wss,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DevicesSetting {
    #[default]
    Full,
    Counts,
    Off,
}

/// `gateway.expired_sessions`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ExpiredSessionsSetting {
    #[default]
    Keep,
    Close,
}

impl From<ExpiredSessionsSetting> for certward_gateway::ExpiredSessions {
    fn from(setting: ExpiredSessionsSetting) -> Self {
        match setting {
            ExpiredSessionsSetting::Keep => Self::Keep,
            ExpiredSessionsSetting::Close => Self::Close,
        }
    }
}

impl From<DevicesSetting> for certward_gateway::DevicesKept {
    fn from(setting: DevicesSetting) -> Self {
        match setting {
            DevicesSetting::Full => Self::Full,
            DevicesSetting::Counts => Self::Counts,
            DevicesSetting::Off => Self::Off,
        }
    }
}

/// The most that a gateway holds.
const CONNECTIONS_MAX: i64 = 1_000_000;

fn connections<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    let number = i64::deserialize(from)?;
    if (1..=CONNECTIONS_MAX).contains(&number) {
        return u32::try_from(number).map(Some).map_err(D::Error::custom);
    }
    Err(D::Error::custom(format!("{number} is outside what is allowed: 1 to {CONNECTIONS_MAX}")))
}

fn nat64<'de, D: Deserializer<'de>>(from: D) -> Result<Nat64, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    Nat64::parse(&texts).map_err(|(text, rule)| D::Error::custom(format!("{text:?}: {rule}")))
}

fn optional_deployment<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DeploymentId>, D::Error> {
    let text = String::deserialize(from)?;
    DeploymentId::parse(&text)
        .map(Some)
        .map_err(|rule| D::Error::custom(format!("{text:?} is no deployment id: {rule}")))
}
