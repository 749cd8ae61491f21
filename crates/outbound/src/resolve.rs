//! From a server's host to the addresses that it may be reached at.
//!
//! A name is resolved once per exchange. Connections are made to exactly the addresses that were
//! checked, so a second answer of the DNS changes nothing (DNS rebinding). A literal takes the same
//! way.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::lookup_host,
    time::{Instant, timeout},
};

use crate::{OutboundAllow, ReachFailure};

/// Addresses tried per exchange: two families with a spare each.
const ADDRESSES_MAX: usize = 4;
/// The system's resolver asks a second server after 5 s.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(10);
/// Per address: a SYN lost twice arrives after 3 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl OutboundAllow {
    /// The permitted addresses, in the resolver's order; at most four, never empty. `host` has no
    /// brackets. Takes at most 10 s.
    ///
    /// # Errors
    /// [`ReachFailure::NotAllowed`], [`ReachFailure::NameNotFound`] or [`ReachFailure::TimedOut`].
    pub async fn permitted(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ReachFailure> {
        let found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            // After a timeout its thread ends by the resolver's own limits.
            Err(_) => match timeout(LOOK_UP_TIMEOUT, lookup_host((host, port))).await {
                Ok(Ok(found)) => found.collect(),
                Ok(Err(_)) => return Err(ReachFailure::NameNotFound),
                Err(_) => return Err(ReachFailure::TimedOut),
            },
        };
        self.permitted_of(found)
    }

    fn permitted_of(&self, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, ReachFailure> {
        let mut refusal = ReachFailure::NameNotFound;
        let mut permitted = Vec::new();
        for address in found {
            match self.check(address) {
                Ok(()) if !permitted.contains(&address) => permitted.push(address),
                Ok(()) => {}
                Err(first) if refusal == ReachFailure::NameNotFound => refusal = first,
                Err(_) => {}
            }
        }
        permitted.truncate(ADDRESSES_MAX);
        if permitted.is_empty() { Err(refusal) } else { Ok(permitted) }
    }
}

/// For a connect that leaves an equal share of the time to the other `rivals`.
pub fn connect_timeout(until: Instant, rivals: usize) -> Duration {
    let left = until.saturating_duration_since(Instant::now());
    let sharers = u32::try_from(rivals + 1).unwrap_or(u32::MAX);
    (left / sharers).min(CONNECT_TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_permitted_addresses_of_a_name_remain_and_the_first_refused_is_named() {
        use ReachFailure::{NameNotFound, NotAllowed};
        let networks = vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        let allow = OutboundAllow { networks, ..OutboundAllow::default() };
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (found, expected) in [
            (&["192.0.2.1", "127.0.0.1"][..], Ok(&["192.0.2.1"][..])),
            (&["169.254.169.254", "2001:db8::1"], Ok(&["2001:db8::1"])),
            (&["192.0.2.1", "192.0.2.1"], Ok(&["192.0.2.1"])),
            (
                &["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"],
                Ok(&["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]),
            ),
            (&["::ffff:10.0.0.1", "127.0.0.1"], Err(NotAllowed(ip("10.0.0.1")))),
            (&["64:ff9b::127.0.0.1"], Err(NotAllowed(ip("64:ff9b::127.0.0.1")))),
            (&[], Err(NameNotFound)),
        ] {
            let found = found.iter().map(|text| SocketAddr::new(ip(text), 80)).collect();
            let permitted = allow.permitted_of(found);
            let permitted = permitted.map(|addresses| addresses.iter().map(SocketAddr::ip).collect());
            assert_eq!(
                permitted,
                expected.map(|texts| texts.iter().map(|text| ip(text)).collect::<Vec<_>>())
            );
        }
    }
}
