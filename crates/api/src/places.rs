//! The API's connections: carries out the evictions of `evictions.rs` and bounds served requests.
//!
//! Served requests never take the last eighth of the places, so that new connections can be read.
//! Two sixteenths are reserved, for `/healthz` and `/readyz` and for loopback clients: load
//! balancers and operators are served under load.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use certward_store::address_group;
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::evictions::{ConnectionId, ConnectionState, EvictionTable};

/// Evicted connections that hold a descriptor; at this number accepting pauses.
const EVICTED_OPEN_MAX: usize = 64;

#[derive(Debug, Clone)]
pub(crate) struct ConnectionPlaces(Arc<PlacesInner>);

#[derive(Debug)]
struct PlacesInner {
    table: Mutex<PlaceTable>,
    /// There may be room again.
    changed: Notify,
    for_all: Arc<Semaphore>,
    for_probes: Arc<Semaphore>,
    for_this_machine: Arc<Semaphore>,
}

#[derive(Debug)]
struct PlaceTable {
    evictions: EvictionTable,
    connections: HashMap<ConnectionId, (IpAddr, CancellationToken)>,
    leaving: usize,
}

/// Freed on drop.
#[derive(Debug)]
pub(crate) struct ApiConnectionPlace {
    shared: Arc<PlacesInner>,
    id: ConnectionId,
    address: IpAddr,
    evicted: CancellationToken,
}

/// Returned on drop.
#[derive(Debug)]
pub(crate) struct ServePermit {
    _permit: Option<OwnedSemaphorePermit>,
}

impl ConnectionPlaces {
    pub(crate) fn new(connections_max: usize) -> Self {
        let max = connections_max.clamp(1, Semaphore::MAX_PERMITS);
        let (unread, reserved) = (max / 8, max / 16);
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let evictions = EvictionTable::new(max);
        Self(Arc::new(PlacesInner {
            table: Mutex::new(PlaceTable { evictions, connections: HashMap::new(), leaving: 0 }),
            changed: Notify::new(),
            for_all: semaphore(max - unread - 2 * reserved),
            for_probes: semaphore(reserved),
            for_this_machine: semaphore(reserved),
        }))
    }

    pub(crate) async fn room(&self) {
        loop {
            // There is one waiter; an earlier notification is kept.
            let changed = self.0.changed.notified();
            if self.0.table().has_room() {
                return;
            }
            changed.await;
        }
    }

    /// A place, and the address (of IPv6, the network) of the evicted connection.
    pub(crate) fn take(&self, address: IpAddr) -> (ApiConnectionPlace, Option<IpAddr>) {
        let evicted = CancellationToken::new();
        let group = address_group(address);
        let mut table = self.0.table();
        let (id, gave_way) = table.evictions.enter(group, Instant::now());
        table.connections.insert(id, (group, evicted.clone()));
        let gave_way = gave_way.and_then(|other| table.evict(other));
        drop(table);
        (ApiConnectionPlace { shared: Arc::clone(&self.0), id, address, evicted }, gave_way)
    }
}

impl ApiConnectionPlace {
    /// `false` if evicted: nothing more may be done for it.
    pub(crate) fn set_state(&self, state: ConnectionState) -> bool {
        let stays = self.shared.table().evictions.set_state(self.id, state);
        self.shared.changed.notify_one();
        stays
    }

    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    pub(crate) async fn turn(&self, is_probe: bool) -> ServePermit {
        let for_all = Arc::clone(&self.shared.for_all).acquire_owned();
        let reserved = match is_probe {
            true => &self.shared.for_probes,
            false if is_this_machine(self.address) => &self.shared.for_this_machine,
            false => return ServePermit { _permit: for_all.await.ok() },
        };
        let permit = tokio::select! {
            biased;
            permit = for_all => permit,
            permit = Arc::clone(reserved).acquire_owned() => permit,
        };
        // The semaphores are never closed.
        ServePermit { _permit: permit.ok() }
    }
}

/// Not all of 127.0.0.0/8: a client must choose another address of it.
fn is_this_machine(address: IpAddr) -> bool {
    [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].contains(&address.to_canonical())
}

impl Drop for ApiConnectionPlace {
    fn drop(&mut self) {
        let mut table = self.shared.table();
        table.connections.remove(&self.id);
        if !table.evictions.leave(self.id) {
            table.leaving -= 1;
        }
        drop(table);
        self.shared.changed.notify_one();
    }
}

impl PlacesInner {
    fn table(&self) -> MutexGuard<'_, PlaceTable> {
        self.table.lock()
    }
}

impl PlaceTable {
    fn has_room(&self) -> bool {
        self.leaving < EVICTED_OPEN_MAX && self.evictions.has_room()
    }

    /// Signals the eviction to the connection.
    fn evict(&mut self, id: ConnectionId) -> Option<IpAddr> {
        let (address, evicted) = self.connections.get(&id)?;
        self.leaving += 1;
        evicted.cancel();
        Some(*address)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[tokio::test]
    async fn a_place_is_free_again_when_who_gave_way_has_ended() {
        let places = ConnectionPlaces::new(2);
        let (first, _) = places.take(address(1));
        let (second, _) = places.take(address(1));
        let (third, gave_way) = places.take(address(2));
        assert_eq!(gave_way, Some(address(1)));
        first.evicted().now_or_never().expect("the oldest has been told");
        assert!(!first.set_state(ConnectionState::Served));
        assert!(second.evicted().now_or_never().is_none());
        assert!(third.set_state(ConnectionState::Served) && second.set_state(ConnectionState::Served));
        assert!(places.room().now_or_never().is_none(), "nobody who is served gives way");
        drop(first);
        assert!(places.room().now_or_never().is_none(), "its place is another's");
        drop(third);
        places.room().now_or_never().expect("room");
    }

    #[tokio::test]
    async fn connections_that_have_not_ended_yet_are_bounded_too() {
        let places = ConnectionPlaces::new(1);
        let mut held = vec![places.take(address(1)).0];
        for _ in 0..EVICTED_OPEN_MAX {
            places.room().now_or_never().expect("room");
            held.push(places.take(address(1)).0);
        }
        assert!(places.room().now_or_never().is_none());
        held.remove(0);
        places.room().now_or_never().expect("room");
    }

    #[tokio::test]
    async fn probes_and_this_machine_are_served_when_all_others_wait() {
        let places = ConnectionPlaces::new(16);
        let mut turns = Vec::new();
        let of = |last: u8| places.take(IpAddr::from([127, 0, 0, last])).0;
        let (stranger, local) = (of(2), of(1));
        for _ in 0..12 {
            turns.push(stranger.turn(false).now_or_never().expect("a turn"));
        }
        for (place, is_probe, served) in [
            (&stranger, false, false),
            (&stranger, true, true),
            (&stranger, true, false),
            (&local, false, true),
            (&local, false, false),
            (&local, true, false),
        ] {
            let turn = place.turn(is_probe).now_or_never();
            assert_eq!(turn.is_some(), served, "{place:?} {is_probe}");
            turns.extend(turn);
        }
        turns.remove(0);
        assert!(stranger.turn(false).now_or_never().is_some());
    }
}
