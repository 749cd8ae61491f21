use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use certward_store::{DeploymentId, Nat64};
use ipnet::IpNet;

/// What an operator may set of the gateway.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where devices arrive; by default `mqtts` on `[::]:8883` and `wss` on `[::]:8084`.
    pub listeners: Vec<Listener>,
    /// The deployment of devices that send no, or an unknown, name to a shared listener. `None`: they are refused.
    pub default_deployment: Option<DeploymentId>,
    /// Where upstreams may be. `None`: anywhere but link-local, multicast, broadcast and unspecified addresses. A listener of
    /// this program is never an upstream, whatever stands here.
    pub upstream_allow: Option<Vec<IpNet>>,
    /// Where this network's NAT64 translators put IPv4 addresses, beside the well-known prefixes: addresses there are judged by
    /// the IPv4 address inside.
    pub upstream_nat64: Nat64,
    /// The addresses of this machine that brokers are connected to from, one by lot for each; where there is none of a broker's family, the system
    /// chooses. Each has about 28,000 ports to every address of a broker.
    pub upstream_source: Vec<IpAddr>,
    /// Addresses of this program beside the gateway's listeners (the API's): never an upstream.
    pub own_addresses: Vec<SocketAddr>,
    /// How long things may take.
    pub deadlines: Deadlines,
    /// How many built configurations are kept, about 2.3 KiB each. One that is not kept costs the next handshake a few reads of the store, and
    /// with the embedded one about a third of a millisecond of the processor.
    pub config_cache: usize,
    /// How many finished connections are open at once, over all listeners; further ones are closed as they come. A connection is
    /// finished when a two-way handshake has verified its client, or when the first packet of a one-way one begins.
    pub connections_max: usize,
    /// How many unfinished connections there is room for beside `connections_max`. More may use the places of finished ones that
    /// are not taken; then the oldest of the address that holds most gives way to a newcomer.
    pub unfinished_kept: usize,
    /// How many finished connections one client address may hold, and as many unfinished ones; off by default, for devices share
    /// addresses behind carriers.
    pub connections_per_address_max: Option<usize>,
    /// How long this node counts without a sign of life: the same as `certward_lifecycle::Settings::lease`. A third of it is
    /// the interval of those signs.
    pub lease: Duration,
    /// How long after the last read of the change feed that was answered two-way deployments are served. `None`: for as long
    /// as it takes. See docs/database-away.md, "How old trust may become".
    pub stale_trust: Option<Duration>,
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
        }
    }
}

impl Settings {
    /// Against clients with one connection each, from many addresses, a device has the time in which so many come. A slow one
    /// finishes in three round trips of 0.3 s, so that 8,000 a second do not keep it out; 800 a second do not shorten the deadline
    /// of 10 s. Silent ones take a descriptor and some 3 KiB each, 24 MiB in all.
    pub const UNFINISHED_KEPT: usize = 8192;
}

/// An address of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The address; port 0 takes a free one (for tests).
    pub listen: SocketAddr,
    /// What devices speak here, within TLS.
    pub protocol: Protocol,
    /// Whose connections these are, whatever name they send. `None`: shared, the name decides.
    pub deployment: Option<DeploymentId>,
    /// Whether to listen on `0.0.0.0` instead where `[::]` cannot be had because the machine has no IPv6.
    pub or_ipv4: bool,
    /// The load balancers before this listener: a connection from these networks must begin with a PROXY header, whose address is
    /// then the device's. From everywhere else none is looked for, so nobody can claim to be somebody else.
    pub proxy_protocol_from: Vec<IpNet>,
}

impl Listener {
    /// A shared listener on exactly this address.
    pub fn shared(listen: SocketAddr, protocol: Protocol) -> Self {
        Self { listen, protocol, deployment: None, or_ipv4: false, proxy_protocol_from: Vec::new() }
    }

    /// A listener whose connections are all one deployment's.
    pub fn bound_to(deployment: DeploymentId, listen: SocketAddr, protocol: Protocol) -> Self {
        Self { deployment: Some(deployment), ..Self::shared(listen, protocol) }
    }

    /// Whether a connection from this address must begin with a PROXY header.
    pub(crate) fn awaits_header_from(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.proxy_protocol_from.iter().any(|network| network.contains(&peer))
    }

    /// The listeners of a configuration that names none.
    pub fn defaults() -> Vec<Self> {
        let any = |port| SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port));
        [(8883, Protocol::Mqtts), (8084, Protocol::Wss)]
            .map(|(port, protocol)| Self { or_ipv4: true, ..Self::shared(any(port), protocol) })
            .into()
    }
}

/// What devices speak within TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// MQTT.
    Mqtts,
    /// MQTT over WebSocket.
    Wss,
}

impl Protocol {
    /// The name, as in the configuration.
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

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// From accept to the end of the handshake, everything included (10 s).
    pub handshake: Duration,
    /// From there to enough of the first packet to know it (10 s).
    pub first_packet: Duration,
    /// To look up and reach the upstream (5 s).
    pub upstream_connect: Duration,
    /// Without a byte either way; off by default, for MQTT has its own keep-alive, and only the broker knows it.
    pub idle: Option<Duration>,
    /// Without a byte after one side has ended its half (60 s).
    pub half_closed: Duration,
    /// Without a byte taken by a side for which more waits than the system keeps (3 min).
    pub stalled: Duration,
    /// To say good-bye: a last alert sent and the peer's last bytes read, so that it is not cut off (2 s).
    pub close: Duration,
    /// From the wish to shut down until the last connection is ended; they are ended evenly over this time (30 s).
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
