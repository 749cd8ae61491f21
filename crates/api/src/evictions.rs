//! Selects the connection to evict at the API's limit.
//!
//! A connection is *served* while the router works on its whole request, and never evicted then;
//! others wait for their clients. Evicted is the longest quiet one, if quiet for [`QUIET_GRACE`]
//! (no request is lost); else the longest waiting one of the address with most.
//!
//! So addresses have fair shares without a fixed limit (all clients may share a load balancer), and
//! one byte protects nothing. No I/O here; `places.rs` acts.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    time::Duration,
};

use tokio::time::Instant;

/// More than a client needs to begin a request.
pub(crate) const QUIET_GRACE: Duration = Duration::from_secs(1);

/// Ordered by arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionId(u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionState {
    /// No request has begun.
    Quiet { since: Instant },
    /// A request or its answer is incomplete.
    Unfinished { since: Instant },
    /// The router works on its request.
    Served,
}

#[derive(Debug)]
pub(crate) struct EvictionTable {
    connections_max: usize,
    connections: HashMap<ConnectionId, (IpAddr, ConnectionState)>,
    quiet: BTreeSet<(Instant, ConnectionId)>,
    waiting: HashMap<IpAddr, BTreeSet<(Instant, ConnectionId)>>,
    entered: u64,
}

impl EvictionTable {
    pub(crate) fn new(connections_max: usize) -> Self {
        Self {
            connections_max,
            connections: HashMap::new(),
            quiet: BTreeSet::new(),
            waiting: HashMap::new(),
            entered: 0,
        }
    }

    /// By a free place or an eviction.
    pub(crate) fn has_room(&self) -> bool {
        self.connections.len() < self.connections_max || !self.waiting.is_empty()
    }

    /// Adds a connection of an [`certward_store::address_group`]; returns the evicted one too.
    pub(crate) fn enter(&mut self, address: IpAddr, now: Instant) -> (ConnectionId, Option<ConnectionId>) {
        let id = ConnectionId(self.entered);
        self.entered += 1;
        self.insert(id, address, ConnectionState::Quiet { since: now });
        let crowded = self.connections.len() > self.connections_max;
        // After the insert, so that it counts for its address. Chosen itself only if no other
        // waits; then it stays.
        let gave_way = crowded.then(|| self.gives_way(now)).flatten().filter(|other| *other != id);
        if let Some(other) = gave_way {
            self.leave(other);
        }
        (id, gave_way)
    }

    /// `false` if evicted.
    pub(crate) fn set_state(&mut self, id: ConnectionId, state: ConnectionState) -> bool {
        let Some(address) = self.remove(id) else { return false };
        self.insert(id, address, state);
        true
    }

    /// `false` if evicted before.
    pub(crate) fn leave(&mut self, id: ConnectionId) -> bool {
        self.remove(id).is_some()
    }

    /// Ties go to the address with the longest waiting connection.
    fn gives_way(&self, now: Instant) -> Option<ConnectionId> {
        let quiet = self.quiet.first().filter(|(since, _)| now.duration_since(*since) >= QUIET_GRACE);
        let of_most = || {
            let of = self.waiting.values().max_by_key(|of| (of.len(), Reverse(of.first())))?;
            of.first()
        };
        quiet.or_else(of_most).map(|(_, id)| *id)
    }

    fn insert(&mut self, id: ConnectionId, address: IpAddr, state: ConnectionState) {
        self.connections.insert(id, (address, state));
        if let ConnectionState::Quiet { since } = state {
            self.quiet.insert((since, id));
        }
        if let Some(since) = state.waits_since() {
            self.waiting.entry(address).or_default().insert((since, id));
        }
    }

    fn remove(&mut self, id: ConnectionId) -> Option<IpAddr> {
        let (address, state) = self.connections.remove(&id)?;
        if let Some(since) = state.waits_since()
            && let Some(of) = self.waiting.get_mut(&address)
        {
            self.quiet.remove(&(since, id));
            of.remove(&(since, id));
            if of.is_empty() {
                self.waiting.remove(&address);
            }
        }
        Some(address)
    }
}

impl ConnectionState {
    fn waits_since(self) -> Option<Instant> {
        match self {
            Self::Quiet { since } | Self::Unfinished { since } => Some(since),
            Self::Served => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// A full table; the requests began a millisecond apart.
    fn evictions(begun: Instant, addresses: &[u8]) -> (EvictionTable, Vec<ConnectionId>) {
        let mut evictions = EvictionTable::new(addresses.len());
        let ids = addresses.iter().zip(0..).map(|(last, nth)| {
            let (id, _) = evictions.enter(address(*last), begun);
            assert!(
                evictions.set_state(id, ConnectionState::Unfinished { since: begun + SECOND * nth / 1000 })
            );
            id
        });
        let ids = ids.collect();
        (evictions, ids)
    }

    #[test]
    fn the_oldest_unfinished_request_of_the_address_that_holds_most_gives_way() {
        let now = Instant::now();
        for (held, comes, expected) in [
            (&[1, 2, 2, 3][..], 4, 1),
            (&[1, 1, 2, 2], 2, 2),
            (&[1, 1, 2, 2], 1, 0),
            (&[1, 1, 2, 2], 3, 0),
            (&[2, 1, 1, 1], 2, 1),
            (&[1, 2, 3, 4], 5, 0),
            (&[1, 1, 1, 1], 1, 0),
        ] {
            let (mut evictions, ids) = evictions(now, held);
            let (_, gave_way) = evictions.enter(address(comes), now + SECOND / 2);
            assert_eq!(gave_way, Some(ids[expected]), "{held:?} {comes}");
            assert!(
                !evictions.set_state(ids[expected], ConnectionState::Served),
                "and nothing more is done for it"
            );
        }
    }

    #[test]
    fn who_has_asked_for_nothing_for_a_second_gives_way_before_any_unfinished_request() {
        let now = Instant::now();
        let (mut evictions, ids) = evictions(now, &[1, 1, 1, 2, 3]);
        evictions.set_state(ids[3], ConnectionState::Quiet { since: now + SECOND / 2 });
        evictions.set_state(ids[4], ConnectionState::Quiet { since: now + SECOND });
        assert_eq!(
            evictions.enter(address(1), now + SECOND).1,
            Some(ids[0]),
            "neither has been quiet so long"
        );
        assert_eq!(evictions.enter(address(1), now + SECOND * 2).1, Some(ids[3]));
        assert_eq!(evictions.enter(address(1), now + SECOND * 2).1, Some(ids[4]));
    }

    #[test]
    fn a_request_that_is_served_never_gives_way() {
        let now = Instant::now();
        let (mut evictions, ids) = evictions(now, &[1, 1]);
        for id in &ids {
            assert!(evictions.has_room());
            evictions.set_state(*id, ConnectionState::Served);
        }
        assert!(!evictions.has_room());
        evictions.set_state(ids[1], ConnectionState::Unfinished { since: now });
        assert_eq!(evictions.enter(address(2), now).1, Some(ids[1]));
    }

    /// The rule over a plain list.
    fn model(held: &[(ConnectionId, IpAddr, ConnectionState)], now: Instant) -> Option<ConnectionId> {
        let mut waiting: Vec<_> = held
            .iter()
            .filter_map(|(id, address, state)| Some((state.waits_since()?, *id, *address, *state)))
            .collect();
        waiting.sort_by_key(|(since, id, ..)| (*since, *id));
        let quiet = waiting.iter().find(
            |(since, .., state)| matches!(state, ConnectionState::Quiet { .. } if *since + QUIET_GRACE <= now),
        );
        let holds = |address: IpAddr| waiting.iter().filter(|(_, _, other, _)| *other == address).count();
        let most = waiting.iter().map(|(_, _, address, _)| holds(*address)).max();
        quiet
            .or_else(|| waiting.iter().find(|(_, _, address, _)| Some(holds(*address)) == most))
            .map(|(_, id, ..)| *id)
    }

    #[derive(Debug, Clone)]
    enum TableStep {
        Enter(u8),
        Stand(usize, u8),
        Leave(usize),
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = TableStep> {
        prop_oneof![
            4 => (0..4u8).prop_map(TableStep::Enter),
            4 => (any::<usize>(), 0..3u8).prop_map(|(nth, state)| TableStep::Stand(nth, state)),
            1 => any::<usize>().prop_map(TableStep::Leave),
            2 => (0..1500u64).prop_map(TableStep::Pass),
        ]
    }

    proptest! {
        #[test]
        fn who_gives_way_is_who_the_plain_rule_names(steps in proptest::collection::vec(step(), 0..120)) {
            const MAX: usize = 6;
            let (mut evictions, mut held, mut now) = (EvictionTable::new(MAX), Vec::new(), Instant::now());
            for step in steps {
                match step {
                    TableStep::Enter(last) => {
                        let has_room = held.len() < MAX
                            || held.iter().any(|(_, _, state)| *state != ConnectionState::Served);
                        prop_assert_eq!(evictions.has_room(), has_room);
                        if !has_room {
                            continue;
                        }
                        let (id, gave_way) = evictions.enter(address(last), now);
                        held.push((id, address(last), ConnectionState::Quiet { since: now }));
                        let expected = (held.len() > MAX).then(|| model(&held, now)).flatten();
                        prop_assert_eq!(gave_way, expected);
                        held.retain(|(id, ..)| Some(*id) != gave_way);
                        prop_assert!(held.len() <= MAX);
                    }
                    TableStep::Stand(nth, state) if !held.is_empty() => {
                        let nth = nth % held.len();
                        held[nth].2 = match state {
                            0 => ConnectionState::Quiet { since: now },
                            1 => ConnectionState::Unfinished { since: now },
                            _ => ConnectionState::Served,
                        };
                        prop_assert!(evictions.set_state(held[nth].0, held[nth].2));
                    }
                    TableStep::Leave(nth) if !held.is_empty() => {
                        let (id, ..) = held.swap_remove(nth % held.len());
                        prop_assert!(evictions.leave(id));
                        prop_assert!(!evictions.leave(id));
                    }
                    TableStep::Stand(..) | TableStep::Leave(_) => {}
                    TableStep::Pass(milliseconds) => now += Duration::from_millis(milliseconds),
                }
            }
        }
    }
}
