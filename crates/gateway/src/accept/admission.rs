//! Counts and bounds open connections.
//!
//! A connection is *unfinished* until known to be a device's: two-way, when the handshake verified
//! it; one-way, when its first packet begins, for any client can finish that handshake. Limits
//! count finished ones, exactly. Excess unfinished ones are displaced (`fair_shares.rs`), so
//! clients that never finish keep no device out.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use certward_store::address_group;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::{
    accept::fair_shares::{Age, FairShares},
    observe::reason::RefusedReason,
};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) finished_max: usize,
    pub(crate) per_address_max: Option<usize>,
    /// Beyond `finished_max`, whose free places they also use: after a restart a fleet connects all
    /// at once.
    pub(crate) unfinished_kept: usize,
}

#[derive(Debug)]
pub(crate) struct Doorkeeper {
    bounds: Bounds,
    places: Mutex<ConnectionCounts>,
}

#[derive(Debug)]
struct ConnectionCounts {
    finished: usize,
    /// Empty without `per_address_max`.
    finished_of: HashMap<IpAddr, usize>,
    unfinished: FairShares<Arc<Notify>>,
}

/// Removed on drop.
#[derive(Debug)]
pub(crate) struct UnfinishedConnection {
    doorkeeper: Arc<Doorkeeper>,
    address: IpAddr,
    /// `None` once finished.
    age: Option<Age>,
    displaced: Arc<Notify>,
}

/// Of a finished connection; released on drop.
#[derive(Debug)]
pub(crate) struct ConnectionPlace {
    doorkeeper: Arc<Doorkeeper>,
    /// `None` without `per_address_max`.
    address: Option<IpAddr>,
}

/// A newer connection took its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Displaced;

impl Doorkeeper {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let (finished_of, unfinished) = (HashMap::new(), FairShares::new());
        Self { bounds, places: Mutex::new(ConnectionCounts { finished: 0, finished_of, unfinished }) }
    }

    pub(crate) fn addresses(&self) -> usize {
        self.places().finished_of.len()
    }

    pub(crate) fn unfinished(&self) -> usize {
        self.places().unfinished.len()
    }

    /// `Err`: the bound that refuses it. `is_device` is false for a load balancer before its header
    /// ([`UnfinishedConnection::set_device`]).
    pub(crate) fn enter(
        self: &Arc<Self>,
        peer: IpAddr,
        is_device: bool,
    ) -> Result<UnfinishedConnection, RefusedReason> {
        let (address, displaced) = (address_group(peer), Arc::<Notify>::default());
        let mut places = self.places();
        // Refused before anything is stored.
        self.check_room(&places, is_device.then_some(address))?;
        let age = places.unfinished.add(address, Arc::clone(&displaced));
        if is_device {
            self.bound_address(&mut places, address);
        }
        let room = self.bounds.finished_max.saturating_add(self.bounds.unfinished_kept);
        if places.finished + places.unfinished.len() > room {
            places.unfinished.displace().iter().for_each(|displaced| displaced.notify_one());
        }
        drop(places);
        Ok(UnfinishedConnection { doorkeeper: Arc::clone(self), address, age: Some(age), displaced })
    }

    fn check_room(&self, places: &ConnectionCounts, address: Option<IpAddr>) -> Result<(), RefusedReason> {
        if places.finished >= self.bounds.finished_max {
            return Err(RefusedReason::ConnectionsMax);
        }
        let of_address = address.and_then(|address| places.finished_of.get(&address));
        match (self.bounds.per_address_max, of_address) {
            (Some(max), Some(count)) if *count >= max => Err(RefusedReason::ConnectionsPerAddressMax),
            _ => Ok(()),
        }
    }

    /// An address may have as many unfinished connections as finished ones.
    fn bound_address(&self, places: &mut ConnectionCounts, address: IpAddr) {
        if let Some(max) = self.bounds.per_address_max
            && places.unfinished.len_of(address) > max
        {
            places.unfinished.displace_of(address).iter().for_each(|displaced| displaced.notify_one());
        }
    }

    // No holder of the lock can panic halfway through a change.
    fn places(&self) -> MutexGuard<'_, ConnectionCounts> {
        self.places.lock()
    }
}

impl UnfinishedConnection {
    /// Counts the connection to the address in its PROXY header; `Err`: the bound that refuses it.
    pub(crate) fn set_device(&mut self, device: IpAddr) -> Result<(), RefusedReason> {
        let (from, to) = (self.address, address_group(device));
        let mut places = self.doorkeeper.places();
        self.doorkeeper.check_room(&places, Some(to))?;
        self.address = to;
        if let Some(age) = self.age
            && places.unfinished.move_to(to, from, age)
        {
            self.doorkeeper.bound_address(&mut places, to);
        }
        Ok(())
    }

    /// Resolves once displaced: close then without waiting for the peer.
    pub(crate) async fn displaced(&self) {
        self.displaced.notified().await;
    }

    /// On error the connection stays unfinished.
    pub(crate) fn finish(&mut self) -> Result<ConnectionPlace, RefusedReason> {
        let mut places = self.doorkeeper.places();
        self.doorkeeper.check_room(&places, Some(self.address))?;
        // Displaced, but not notified yet: its place is taken.
        let age = self.age.ok_or(RefusedReason::Displaced)?;
        places.unfinished.remove(self.address, age).ok_or(RefusedReason::Displaced)?;
        self.age = None;
        places.finished += 1;
        let address = self.doorkeeper.bounds.per_address_max.map(|_| self.address);
        if let Some(address) = address {
            *places.finished_of.entry(address).or_default() += 1;
        }
        drop(places);
        Ok(ConnectionPlace { doorkeeper: Arc::clone(&self.doorkeeper), address })
    }
}

/// Runs `future` until the connection is displaced. Probes have no entrant.
pub(crate) async fn unless_displaced<F: Future>(
    entrant: Option<&UnfinishedConnection>,
    future: F,
) -> Result<F::Output, Displaced> {
    let Some(entrant) = entrant else { return Ok(future.await) };
    tokio::select! {
        biased;
        () = entrant.displaced() => Err(Displaced),
        output = future => Ok(output),
    }
}

impl Drop for UnfinishedConnection {
    fn drop(&mut self) {
        if let Some(age) = self.age {
            self.doorkeeper.places().unfinished.remove(self.address, age);
        }
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let mut places = self.doorkeeper.places();
        places.finished -= 1;
        let Some(address) = &self.address else { return };
        if let Some(count) = places.finished_of.get_mut(address) {
            *count -= 1;
            if *count == 0 {
                places.finished_of.remove(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn keeper(
        finished_max: usize,
        per_address_max: Option<usize>,
        unfinished_kept: usize,
    ) -> Arc<Doorkeeper> {
        Arc::new(Doorkeeper::new(Bounds { finished_max, per_address_max, unfinished_kept }))
    }

    fn finish(keeper: &Arc<Doorkeeper>, address: IpAddr) -> Result<ConnectionPlace, RefusedReason> {
        keeper.enter(address, true)?.finish()
    }

    fn is_displaced(entrant: &UnfinishedConnection) -> bool {
        entrant.displaced().now_or_never().is_some()
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let cases = [
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
            ("192.0.2.1", "192.0.2.2", false),
            ("fe80::1", "fe80::2", false),
            ("64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", false),
            ("64:ff9b:1::1", "64:ff9b:1::2", true),
        ];
        for (first, second, together) in cases {
            let keeper = keeper(9, Some(1), 9);
            let finish = |address: &str| finish(&keeper, address.parse().unwrap());
            let first_place = finish(first).unwrap();
            assert_eq!(finish(second).is_err(), together, "{first} {second}");
            drop(first_place);
            assert!(finish(second).is_ok(), "{first} {second}");
            assert_eq!((keeper.addresses(), keeper.unfinished()), (0, 0));
        }
    }

    #[test]
    fn no_more_than_the_limit_is_let_in_and_a_place_becomes_free_again() {
        let keeper = keeper(3, Some(2), 9);
        let places = [finish(&keeper, A).unwrap(), finish(&keeper, A).unwrap()];
        assert_eq!(finish(&keeper, A).unwrap_err(), RefusedReason::ConnectionsPerAddressMax);
        let _third = finish(&keeper, B).unwrap();
        assert_eq!(finish(&keeper, B).unwrap_err(), RefusedReason::ConnectionsMax);
        drop(places);
        assert!(finish(&keeper, A).is_ok());
        assert!(
            !keeper.places().finished_of.contains_key(&A),
            "nothing is kept of an address without connections"
        );
    }

    #[test]
    fn of_many_that_finish_at_once_exactly_as_many_get_in_as_may() {
        for (keeper, refusal) in [
            (keeper(7, None, 1000), RefusedReason::ConnectionsMax),
            (keeper(1000, Some(7), 1000), RefusedReason::ConnectionsPerAddressMax),
        ] {
            // From a balancer: one address may have more than seven.
            let mut entrants: Vec<_> = (0..7 * 4).map(|_| keeper.enter(A, false).unwrap()).collect();
            let results: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = entrants
                    .chunks_mut(7)
                    .map(|chunk| {
                        scope.spawn(|| chunk.iter_mut().map(UnfinishedConnection::finish).collect::<Vec<_>>())
                    })
                    .collect();
                threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
            });
            let (places, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
            assert_eq!(places.len(), 7);
            assert!(refused.iter().all(|refused| refused.as_ref().unwrap_err() == &refusal), "{refused:?}");
        }
    }

    #[test]
    fn unfinished_connections_count_to_no_limit_and_give_way_by_fair_shares() {
        let keeper = keeper(2, None, 2);
        let strangers: Vec<_> = (0..4).map(|_| keeper.enter(A, true).unwrap()).collect();
        assert!(!strangers.iter().any(is_displaced), "there is room for two more than may finish");
        let mut device = keeper.enter(B, true).unwrap();
        let displaced: Vec<_> = strangers.iter().map(is_displaced).collect();
        assert_eq!(displaced, [true, false, false, false]);
        let _more: Vec<_> = (0..9).map(|_| keeper.enter(A, true).unwrap()).collect();
        assert!(!is_displaced(&device));
        let _place = device.finish().unwrap();
        assert!(finish(&keeper, B).is_ok(), "a place is left");
    }

    #[test]
    fn one_that_was_displaced_does_not_finish() {
        let keeper = keeper(1, None, 0);
        let mut first = keeper.enter(A, true).unwrap();
        let mut second = keeper.enter(A, true).unwrap();
        assert_eq!(first.finish().unwrap_err(), RefusedReason::Displaced);
        let _place = second.finish().unwrap();
        drop(first);
        assert_eq!((keeper.unfinished(), keeper.places().finished), (0, 1));
    }

    #[test]
    fn an_address_holds_as_many_unfinished_ones_as_finished_ones_at_most() {
        let keeper = keeper(100, Some(2), 100);
        let come = || keeper.enter(A, true).unwrap();
        let strangers = [come(), come()];
        let mut device = come();
        assert_eq!(strangers.each_ref().map(is_displaced), [true, false]);
        assert!(device.finish().is_ok());
    }

    #[test]
    fn behind_a_balancer_the_devices_address_counts_and_not_the_balancers() {
        let keeper = keeper(100, Some(1), 100);
        let from = |device| {
            let mut entrant = keeper.enter(B, false)?;
            entrant.set_device(device).map(|()| entrant)
        };
        let mut first = from(A).unwrap();
        let _waiting: Vec<_> = (0..3).map(|_| keeper.enter(B, false).unwrap()).collect();
        assert!(!is_displaced(&first));
        let _place = first.finish().unwrap();
        assert_eq!(from(A).unwrap_err(), RefusedReason::ConnectionsPerAddressMax);
        assert!(from("192.0.2.3".parse().unwrap()).unwrap().finish().is_ok());
    }
}
