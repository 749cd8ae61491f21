use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use certward_store::{DeploymentId, Nat64};
use ipnet::IpNet;

/// The gateway's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// By default `mqtts` on `[::]:8883` and `wss` on `[::]:8084`.
    pub listeners: Vec<Listener>,
    /// For devices with no or an unknown name on a shared listener. `None`: they are refused.
    pub default_deployment: Option<DeploymentId>,
    /// Allowed upstream networks. `None`: all but link-local, multicast, broadcast and unspecified
    /// addresses. Own listeners are never allowed.
    pub upstream_allow: Option<Vec<IpNet>>,
    /// NAT64 prefixes beside the well-known ones, checked by the IPv4 address inside.
    pub upstream_nat64: Nat64,
    /// Source addresses of dials, chosen at random; by the system if none has the broker's family.
    /// Each has about 28,000 ports per broker address.
    pub upstream_source: Vec<IpAddr>,
    /// Other own addresses (the API's): never an upstream.
    pub own_addresses: Vec<SocketAddr>,
    /// Timeouts.
    pub deadlines: Deadlines,
    /// Cached configurations, about 2.3 KiB each. A miss costs a few store reads, embedded a third
    /// of a millisecond of CPU time.
    pub config_cache: usize,
    /// Finished connections at once, over all listeners; more are closed. Finished: the client is
    /// verified (two-way), or the first packet begins (one-way).
    pub connections_max: usize,
    /// Unfinished connections beside `connections_max`. More may use its free places; then the
    /// oldest of the address with the most is evicted.
    pub unfinished_kept: usize,
    /// Finished, and as many unfinished connections per client address. Off by default: carriers
    /// share addresses.
    pub connections_per_address_max: Option<usize>,
    /// How long a node stays counted, as `certward_lifecycle::LifecycleSettings::lease`. Renewed
    /// every third of it.
    pub lease: Duration,
    /// How long after the last answered feed read two-way is served. `None`: no limit. See
    /// docs/database-away.md.
    pub stale_trust: Option<Duration>,
    /// Live sessions whose client certificates have ended.
    pub expired_sessions: ExpiredSessions,
    /// What is kept of devices.
    pub devices: DevicesKept,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listeners: Listener::defaults(),
            default_deployment: None,
            upstream_allow: None,
            upstream_nat64: Nat64::WELL_KNOWN_ONLY,
            upstream_source: Vec::new(),
            own_addresses: Vec::new(),
            deadlines: Deadlines::default(),
            config_cache: 20_000,
            connections_max: 1_000_000,
            unfinished_kept: Self::UNFINISHED_KEPT,
            connections_per_address_max: None,
            lease: Duration::from_secs(15),
            stale_trust: None,
            expired_sessions: ExpiredSessions::Keep,
            devices: DevicesKept::Full,
        }
    }
}

impl Settings {
    /// Against clients with one connection each, from many addresses: a device has as long as so
    /// many take to arrive. A slow one finishes in three round trips of 0.3 s, so 8,000 per second
    /// do not keep it out, and 800 do not shorten the 10 s deadline. Idle ones cost a descriptor
    /// and 3 KiB each, 24 MiB in all.
    pub const UNFINISHED_KEPT: usize = 8192;
}

/// An address of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The address; port 0 picks a free one (for tests).
    pub listen: SocketAddr,
    /// Within TLS.
    pub protocol: Protocol,
    /// The deployment of all its connections. `None`: by name.
    pub deployment: Option<DeploymentId>,
    /// `0.0.0.0` instead of `[::]` on a machine without IPv6.
    pub or_ipv4: bool,
    /// Networks of load balancers: a PROXY header is required. From elsewhere none is read, so that
    /// no client can forge an address.
    pub proxy_protocol_from: Vec<IpNet>,
}

impl Listener {
    /// A shared listener.
    pub fn shared(listen: SocketAddr, protocol: Protocol) -> Self {
        Self { listen, protocol, deployment: None, or_ipv4: false, proxy_protocol_from: Vec::new() }
    }

    /// Bound to one deployment.
    pub fn bound_to(deployment: DeploymentId, listen: SocketAddr, protocol: Protocol) -> Self {
        Self { deployment: Some(deployment), ..Self::shared(listen, protocol) }
    }

    pub(crate) fn awaits_header_from(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.proxy_protocol_from.iter().any(|network| network.contains(&peer))
    }

    /// The listeners of a configuration without any.
    pub fn defaults() -> Vec<Self> {
        let any = |port| SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port));
        [(8883, Protocol::Mqtts), (8084, Protocol::Wss)]
            .map(|(port, protocol)| Self { or_ipv4: true, ..Self::shared(any(port), protocol) })
            .into()
    }
}

/// What happens to a session whose client certificate ends. Devices cannot connect with it again in
/// any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExpiredSessions {
    /// It goes on, as without certward.
    #[default]
    Keep,
    /// It is closed within a second or two.
    Close,
}

/// What is kept of the devices that a broker has accepted. Live sessions are known in any case, in
/// memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DevicesKept {
    /// Devices by their certificates, the hosts that they ask for, and a summary of their offers.
    #[default]
    Full,
    /// Hosts and the summary; no device is identified.
    Counts,
    /// Nothing.
    Off,
}

/// The protocol within TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// MQTT.
    Mqtts,
    /// MQTT over WebSocket.
    Wss,
}

impl Protocol {
    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mqtts => "mqtts",
            Self::Wss => "wss",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Timeouts, with defaults.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// From accept to the end of the handshake (10 s).
    pub handshake: Duration,
    /// Until the first packet is recognised (10 s).
    pub first_packet: Duration,
    /// To resolve and dial the upstream (5 s).
    pub upstream_connect: Duration,
    /// Without a byte either way. Off by default: only the broker knows the MQTT keep-alive.
    pub idle: Option<Duration>,
    /// Without a byte after one side closed its half (60 s).
    pub half_closed: Duration,
    /// Without progress of a write backlog (3 min).
    pub stalled: Duration,
    /// For the last alert and the peer's last bytes (2 s).
    pub close: Duration,
    /// The drain time of a shutdown; connections are closed evenly over it (30 s).
    pub drain: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            first_packet: Duration::from_secs(10),
            upstream_connect: Duration::from_secs(5),
            idle: None,
            half_closed: Duration::from_secs(60),
            stalled: Duration::from_secs(180),
            close: Duration::from_secs(2),
            drain: Duration::from_secs(30),
        }
    }
}
