use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use certward_store::{DeploymentId, Nat64};
use serde::{Deserialize, Deserializer, de::Error};

use super::Network;

/// `[gateway]`: where devices arrive.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct GatewaySection {
    /// `[[gateway.listener]]`: `mqtts` on `[::]:8883` and `wss` on `[::]:8084`; a given list replaces both and has at
    /// least one.
    pub(crate) listener: Option<Vec<Listener>>,
    /// The deployment of clients without SNI, or with an unknown one, on shared listeners: none.
    #[serde(deserialize_with = "optional_deployment")]
    pub(crate) default_deployment: Option<DeploymentId>,
    /// The networks that upstreams may be in (`10.0.0.0/8`, `fd00::/8`, `192.0.2.7`): all but link-local, multicast,
    /// unspecified and certward's own listeners.
    pub(crate) upstream_allow: Option<Vec<Network>>,
    /// The prefixes of this network's NAT64 translators (`2001:db8:64::/96`), beside the well-known ones: none.
    #[serde(deserialize_with = "nat64")]
    pub(crate) upstream_nat64: Nat64,
    /// The addresses of this machine that brokers are connected to from, one by lot for each: the system chooses.
    #[serde(deserialize_with = "super::upstream_source::addresses")]
    pub(crate) upstream_source: Vec<IpAddr>,
    /// How many connections one address of devices may hold: no limit; 1 to 1,000,000.
    #[serde(deserialize_with = "connections")]
    pub(crate) connections_per_address: Option<u32>,
    /// From accept to the end of a device's handshake: `10s`; 1 s to 5 min.
    #[serde(deserialize_with = "super::duration::device")]
    pub(crate) handshake_within: Duration,
    /// From there to the beginning of its CONNECT, or of its HTTP request: `10s`; 1 s to 5 min.
    #[serde(deserialize_with = "super::duration::device")]
    pub(crate) connect_within: Duration,
    /// How long a change may take to be proven before it is `failed`: `60s`; 1 s to 1 h.
    #[serde(deserialize_with = "super::duration::prove_within")]
    pub(crate) prove_within: Duration,
    /// Over how long the devices' connections are ended when certward ends: `30s`; 0 s to 1 h.
    #[serde(deserialize_with = "super::duration::drain")]
    pub(crate) drain: Duration,
    /// How long after the last read of changes two-way deployments are served: `serve`, without end; or 10 s to 31 d.
    #[serde(deserialize_with = "super::duration::stale_trust")]
    pub(crate) stale_trust: Option<Duration>,
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
        }
    }
}

impl GatewaySection {
    /// What the gateway listens on.
    pub(crate) fn listeners(&self) -> Vec<certward_gateway::Listener> {
        let Some(listeners) = &self.listener else { return certward_gateway::Listener::defaults() };
        let convert = |listener: &Listener| certward_gateway::Listener {
            listen: listener.listen,
            protocol: match listener.protocol {
                Protocol::Mqtts => certward_gateway::Protocol::Mqtts,
                Protocol::Wss => certward_gateway::Protocol::Wss,
            },
            deployment: listener.deployment.clone(),
            or_ipv4: false,
            proxy_protocol_from: listener.proxy_protocol_from.iter().map(|network| network.0).collect(),
        };
        listeners.iter().map(convert).collect()
    }
}

/// One address of the gateway.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listener {
    /// The address; port 0 lets the system choose, and the log says which.
    #[serde(deserialize_with = "super::address::socket_address")]
    pub(crate) listen: SocketAddr,
    /// What is spoken inside TLS.
    pub(crate) protocol: Protocol,
    /// Every connection here is this deployment's, whatever its SNI says; without it the listener is shared.
    #[serde(default, deserialize_with = "optional_deployment")]
    pub(crate) deployment: Option<DeploymentId>,
    /// The networks of the load balancers before it, which begin every connection with a PROXY header (version 1 or 2): none.
    #[serde(default)]
    pub(crate) proxy_protocol_from: Vec<Network>,
}

/// What is spoken inside TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    /// MQTT.
    Mqtts,
    /// MQTT over WebSocket.
    Wss,
}

/// As many as a gateway holds at all.
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
