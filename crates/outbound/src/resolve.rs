//! From a receiver's host to the addresses that it may be reached at.
//!
//! A name is resolved once per message. Connections are made to exactly the addresses that were
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

use crate::{AlertAllow, SendFailure};

/// Addresses tried per message: two families with a spare each.
const ADDRESSES_MAX: usize = 4;
/// The system's resolver asks a second server after 5 s.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(10);
/// Per address: a SYN lost twice arrives after 3 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The permitted addresses, in the resolver's order; never empty. `host` has no brackets.
pub(crate) async fn permitted(
    allow: &AlertAllow,
    host: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, SendFailure> {
    let found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        // After a timeout its thread ends by the resolver's own limits.
        Err(_) => match timeout(LOOK_UP_TIMEOUT, lookup_host((host, port))).await {
            Ok(Ok(found)) => found.collect(),
            Ok(Err(_)) => return Err(SendFailure::NameNotFound),
            Err(_) => return Err(SendFailure::TimedOut),
        },
    };
    let mut refusal = SendFailure::NameNotFound;
    let mut permitted = Vec::new();
    for address in found {
        match allow.check(address) {
            Ok(()) if !permitted.contains(&address) => permitted.push(address),
            Ok(()) => {}
            Err(first) if refusal == SendFailure::NameNotFound => refusal = first,
            Err(_) => {}
        }
    }
    permitted.truncate(ADDRESSES_MAX);
    if permitted.is_empty() { Err(refusal) } else { Ok(permitted) }
}

/// For a connect that leaves an equal share of the time to the other `rivals`.
pub(crate) fn connect_timeout(until: Instant, rivals: usize) -> Duration {
    let left = until.saturating_duration_since(Instant::now());
    let sharers = u32::try_from(rivals + 1).unwrap_or(u32::MAX);
    (left / sharers).min(CONNECT_TIMEOUT)
}
