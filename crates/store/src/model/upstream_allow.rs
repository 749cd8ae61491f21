use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use thiserror::Error;

use crate::{Nat64, Upstream};

/// Where a project's deployments may relay to: networks, and addresses or names with a port.
/// Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamAllow(Vec<AllowEntry>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum AllowEntry {
    Network(IpNet),
    Broker(Upstream),
}

/// Why a text is no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UpstreamAllowError {
    /// None of the forms.
    #[error(
        "it must be a network (10.0.0.0/8), an address, or a name or address with a port (broker.example:1883)"
    )]
    Form,
    /// Ambiguous: `10.1.2.3/8` may mean one address or `10.0.0.0/8`.
    #[error("bits are set behind the network's prefix")]
    HostBits,
}

impl UpstreamAllow {
    /// Entries per list.
    pub const MAX: usize = 100;

    /// Reads a list; an empty one would be ambiguous.
    ///
    /// # Errors
    /// The position of the first invalid text, and why; `None` for an empty list.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, Option<(usize, UpstreamAllowError)>> {
        let parse =
            |(at, text): (usize, &T)| AllowEntry::parse(text.as_ref()).map_err(|error| Some((at, error)));
        let places = texts.iter().enumerate().map(parse).collect::<Result<Vec<_>, _>>()?;
        if places.is_empty() { Err(None) } else { Ok(Self(places)) }
    }

    /// For an unreadable stored list.
    pub(crate) fn nothing() -> Self {
        Self(Vec::new())
    }

    /// No entry has a comma.
    pub(crate) fn read(text: &str) -> Option<Self> {
        Self::parse(&text.split(',').collect::<Vec<_>>()).ok()
    }

    /// The entries as written.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// Whether a deployment may name this upstream. A name is checked again by [`Self::permits`].
    pub fn admits(&self, upstream: &Upstream, nat64: &Nat64) -> bool {
        match upstream.socket_address() {
            Some(address) => self.permits(upstream, address, nat64),
            None => self.names(upstream) || self.0.iter().any(AllowEntry::is_by_address),
        }
    }

    /// Whether a dial of this upstream may use this address.
    pub fn permits(&self, upstream: &Upstream, address: SocketAddr, nat64: &Nat64) -> bool {
        let allowed = |ip: &IpAddr| self.0.iter().any(|place| place.contains(*ip, address.port()));
        self.names(upstream) || nat64.judged(address.ip()).iter().all(allowed)
    }

    fn names(&self, upstream: &Upstream) -> bool {
        let is_it = |place: &AllowEntry| matches!(place, AllowEntry::Broker(broker) if broker.claimed() == upstream.claimed());
        self.0.iter().any(is_it)
    }
}

impl fmt::Display for UpstreamAllow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.texts().join(","))
    }
}

impl AllowEntry {
    fn parse(text: &str) -> Result<Self, UpstreamAllowError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Network(address.to_canonical().into()));
        }
        match text.parse::<IpNet>() {
            Ok(network) if network.trunc() == network => Ok(Self::Network(network)),
            Ok(_) => Err(UpstreamAllowError::HostBits),
            Err(_) => Upstream::parse(text).map(Self::Broker).map_err(|_| UpstreamAllowError::Form),
        }
    }

    fn is_by_address(&self) -> bool {
        match self {
            Self::Network(_) => true,
            Self::Broker(broker) => broker.socket_address().is_some(),
        }
    }

    fn contains(&self, ip: IpAddr, port: u16) -> bool {
        match self {
            Self::Network(network) => network.contains(&ip),
            Self::Broker(broker) => broker
                .socket_address()
                .is_some_and(|address| address.ip().to_canonical() == ip && address.port() == port),
        }
    }
}

impl fmt::Display for AllowEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Broker(broker) => broker.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(text: &str) -> Upstream {
        Upstream::parse(text).unwrap()
    }

    #[test]
    fn a_list_is_written_as_it_was_read() {
        use UpstreamAllowError as E;
        for (texts, expected) in [
            (&["10.0.0.0/8", "fd00::/8", "broker.example:1883", "[::1]:1883", "10.1.2.3:1884"][..], Ok(())),
            (&["0.0.0.0/0"], Ok(())),
            (&[], Err(None)),
            (&["10.0.0.0/8", "10.0.0.1/8"], Err(Some((1, E::HostBits)))),
            (&["broker.example"], Err(Some((0, E::Form)))),
            (&["broker.example:0"], Err(Some((0, E::Form)))),
            (&["10.0.0.0/33"], Err(Some((0, E::Form)))),
            (&["a:1,b:1"], Err(Some((0, E::Form)))),
            (&[""], Err(Some((0, E::Form)))),
        ] {
            let list = UpstreamAllow::parse(texts);
            assert_eq!(list.as_ref().map(|_| ()).map_err(Clone::clone), expected, "{texts:?}");
            if let Ok(list) = list {
                assert_eq!(list.texts(), texts);
                assert_eq!(UpstreamAllow::read(&list.to_string()), Some(list));
            }
        }
        assert_eq!(UpstreamAllow::parse(&["10.0.0.1"]).unwrap().texts(), ["10.0.0.1/32"]);
    }

    #[test]
    fn what_may_be_named_is_told_by_the_literal_or_left_to_the_look_up() {
        let mixed = ["10.0.0.0/8", "192.0.2.7:1883", "broker.example:1883"];
        let names = ["broker.example:1883"];
        for (list, text, expected) in [
            (&mixed[..], "10.1.2.3:1883", true),
            (&mixed, "10.1.2.3:9", true),
            (&mixed, "11.0.0.1:1883", false),
            (&mixed, "192.0.2.7:1883", true),
            (&mixed, "192.0.2.7:1884", false),
            (&mixed, "[::ffff:10.0.0.1]:1883", true),
            (&mixed, "[64:ff9b::10.0.0.1]:1883", true),
            (&mixed, "[64:ff9b::11.0.0.1]:1883", false),
            (&mixed, "[2001:db8::1]:1883", false),
            (&mixed, "Broker.Example.:01883", true),
            // It may resolve into 10.0.0.0/8.
            (&mixed, "other.example:1883", true),
            (&names, "broker.example:1883", true),
            (&names, "broker.example:1884", false),
            (&names, "other.example:1883", false),
            (&names, "10.0.0.1:1883", false),
        ] {
            let list = UpstreamAllow::parse(list).unwrap();
            assert_eq!(list.admits(&upstream(text), &Nat64::default()), expected, "{text} by {list}");
        }
    }

    #[test]
    fn a_name_may_be_connected_to_where_it_leads_unless_it_is_named_itself() {
        let list = UpstreamAllow::parse(&["10.0.0.0/8", "broker.example:1883"]).unwrap();
        for (name, address, expected) in [
            ("broker.example:1883", "192.0.2.1:1883", true),
            ("other.example:1883", "10.0.0.1:1883", true),
            ("other.example:1883", "192.0.2.1:1883", false),
            ("other.example:1883", "[64:ff9b::10.0.0.1]:1883", true),
            // Teredo: the server and the client.
            ("other.example:1883", "[2001:0:a00:1::f5ff:fffe]:1883", true),
            ("other.example:1883", "[2001:0:c000:201::f5ff:fffe]:1883", false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(
                list.permits(&upstream(name), address, &Nat64::default()),
                expected,
                "{name} at {address}"
            );
        }
        assert!(!UpstreamAllow::nothing().permits(
            &upstream("10.0.0.1:1"),
            "10.0.0.1:1".parse().unwrap(),
            &Nat64::default()
        ));
    }
}
