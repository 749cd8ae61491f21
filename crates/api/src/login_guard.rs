//! Slows down guessing of API keys, by address.
//!
//! Only failed logins are counted and refused: a valid key always passes, since clients share
//! addresses. Not loopback: it is this machine or a local proxy. IPv6 by /64, one host's usual
//! allocation.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use certward_store::address_group;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Failures per [`FAILURES_WINDOW`] before 429. A script with a wrong secret stays far below; 256
/// bits cannot be guessed, so this protects store and log.
const FAILURES_MAX: u32 = 20;
const FAILURES_WINDOW: Duration = Duration::from_secs(60);
/// 4096 × about 48 bytes = under 200 KiB.
const ADDRESSES_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct LoginGuard {
    addresses: Mutex<HashMap<IpAddr, FailureCount>>,
}

#[derive(Debug)]
struct FailureCount {
    count: u32,
    until: Instant,
}

impl LoginGuard {
    /// Counts a failure; above the limit, the time until the count restarts.
    pub(crate) fn failed(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let address = group(address)?;
        let mut addresses = self.addresses.lock();
        if addresses.len() >= ADDRESSES_MAX && !addresses.contains_key(&address) {
            addresses.retain(|_, failures| now < failures.until);
            if addresses.len() >= ADDRESSES_MAX {
                // Not one client guessing; a 401 is enough.
                return None;
            }
        }
        let failures =
            addresses.entry(address).or_insert(FailureCount { count: 0, until: now + FAILURES_WINDOW });
        if now >= failures.until {
            *failures = FailureCount { count: 0, until: now + FAILURES_WINDOW };
        }
        failures.count = failures.count.saturating_add(1);
        (failures.count > FAILURES_MAX).then(|| failures.until - now)
    }
}

/// The counted unit; `None` for loopback.
fn group(address: IpAddr) -> Option<IpAddr> {
    Some(address_group(address)).filter(|_| !address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_twenty_first_failure_within_a_minute_waits_for_the_minutes_end() {
        let (guard, start) = (LoginGuard::default(), Instant::now());
        for _ in 0..20 {
            assert_eq!(guard.failed(ip("192.0.2.1"), start), None);
        }
        let later = start + Duration::from_secs(15);
        assert_eq!(guard.failed(ip("192.0.2.1"), later), Some(Duration::from_secs(45)));
        assert_eq!(
            guard.failed(ip("::ffff:192.0.2.1"), later),
            Some(Duration::from_secs(45)),
            "the same host"
        );
        assert_eq!(guard.failed(ip("192.0.2.2"), later), None, "another address");
        assert_eq!(guard.failed(ip("192.0.2.1"), start + FAILURES_WINDOW), None, "a new minute");
    }

    #[test]
    fn a_host_cannot_hide_in_its_own_ipv6_network() {
        let (guard, now) = (LoginGuard::default(), Instant::now());
        for host in 0..20 {
            assert_eq!(guard.failed(ip(&format!("2001:db8::{host:x}")), now), None);
        }
        assert!(guard.failed(ip("2001:db8::ffff"), now).is_some());
        assert!(guard.failed(ip("2001:db8:0:1::1"), now).is_none());
    }

    #[test]
    fn loopback_is_never_counted() {
        let (guard, now) = (LoginGuard::default(), Instant::now());
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            for _ in 0..50 {
                assert_eq!(guard.failed(ip(address), now), None, "{address}");
            }
        }
    }

    #[test]
    fn its_memory_is_bounded_and_comes_back() {
        let (guard, now) = (LoginGuard::default(), Instant::now());
        for number in 0..10_000u32 {
            guard.failed(IpAddr::V4(number.wrapping_add(0x0a00_0000).into()), now);
        }
        assert_eq!(guard.addresses.lock().len(), ADDRESSES_MAX);
        guard.failed(ip("192.0.2.1"), now + FAILURES_WINDOW);
        assert_eq!(guard.addresses.lock().len(), 1);
    }
}
