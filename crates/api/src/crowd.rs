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
pub(crate) enum Standing {
    /// No request has begun.
    Quiet { since: Instant },
    /// A request or its answer is incomplete.
    Unfinished { since: Instant },
    /// The router works on its request.
    Served,
}

#[derive(Debug)]
pub(crate) struct Crowd {
    connections_max: usize,
    connections: HashMap<ConnectionId, (IpAddr, Standing)>,
    quiet: BTreeSet<(Instant, ConnectionId)>,
    waiting: HashMap<IpAddr, BTreeSet<(Instant, ConnectionId)>>,
    entered: u64,
}

impl Crowd {
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
        self.insert(id, address, Standing::Quiet { since: now });
        let crowded = self.connections.len() > self.connections_max;
        // After the insert, so that it counts for its address. Chosen itself only if no other
        // waits; then it stays.
        let gave_way = crowded.then(|| self.gives_way(now)).flatten().filter(|other| *other != id);
        if let Some(other) = gave_way {
            self.leave(other);
        }
        (id, gave_way)
    }

    /// `false` if it was evicted: nothing more may be done for it.
    pub(crate) fn stands(&mut self, id: ConnectionId, standing: Standing) -> bool {
        let Some(address) = self.remove(id) else { return false };
        self.insert(id, address, standing);
        true
    }

    /// `false` if it was evicted before.
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

    fn insert(&mut self, id: ConnectionId, address: IpAddr, standing: Standing) {
        self.connections.insert(id, (address, standing));
        if let Standing::Quiet { since } = standing {
            self.quiet.insert((since, id));
        }
        if let Some(since) = standing.waits_since() {
            self.waiting.entry(address).or_default().insert((since, id));
        }
    }

    fn remove(&mut self, id: ConnectionId) -> Option<IpAddr> {
        let (address, standing) = self.connections.remove(&id)?;
        if let Some(since) = standing.waits_since()
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

impl Standing {
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
    fn crowd(begun: Instant, addresses: &[u8]) -> (Crowd, Vec<ConnectionId>) {
        let mut crowd = Crowd::new(addresses.len());
        let ids = addresses.iter().zip(0..).map(|(last, nth)| {
            let (id, _) = crowd.enter(address(*last), begun);
            assert!(crowd.stands(id, Standing::Unfinished { since: begun + SECOND * nth / 1000 }));
            id
        });
        let ids = ids.collect();
        (crowd, ids)
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
            let (mut crowd, ids) = crowd(now, held);
            let (_, gave_way) = crowd.enter(address(comes), now + SECOND / 2);
            assert_eq!(gave_way, Some(ids[expected]), "{held:?} {comes}");
            assert!(!crowd.stands(ids[expected], Standing::Served), "and nothing more is done for it");
        }
    }

    #[test]
    fn who_has_asked_for_nothing_for_a_second_gives_way_before_any_unfinished_request() {
        let now = Instant::now();
        let (mut crowd, ids) = crowd(now, &[1, 1, 1, 2, 3]);
        crowd.stands(ids[3], Standing::Quiet { since: now + SECOND / 2 });
        crowd.stands(ids[4], Standing::Quiet { since: now + SECOND });
        assert_eq!(crowd.enter(address(1), now + SECOND).1, Some(ids[0]), "neither has been quiet so long");
        assert_eq!(crowd.enter(address(1), now + SECOND * 2).1, Some(ids[3]));
        assert_eq!(crowd.enter(address(1), now + SECOND * 2).1, Some(ids[4]));
    }

    #[test]
    fn a_request_that_is_served_never_gives_way() {
        let now = Instant::now();
        let (mut crowd, ids) = crowd(now, &[1, 1]);
        for id in &ids {
            assert!(crowd.has_room());
            crowd.stands(*id, Standing::Served);
        }
        assert!(!crowd.has_room());
        crowd.stands(ids[1], Standing::Unfinished { since: now });
        assert_eq!(crowd.enter(address(2), now).1, Some(ids[1]));
    }

    /// The rule over a plain list.
    fn model(held: &[(ConnectionId, IpAddr, Standing)], now: Instant) -> Option<ConnectionId> {
        let mut waiting: Vec<_> = held
            .iter()
            .filter_map(|(id, address, standing)| Some((standing.waits_since()?, *id, *address, *standing)))
            .collect();
        waiting.sort_by_key(|(since, id, ..)| (*since, *id));
        let quiet = waiting.iter().find(
            |(since, .., standing)| matches!(standing, Standing::Quiet { .. } if *since + QUIET_GRACE <= now),
        );
        let holds = |address: IpAddr| waiting.iter().filter(|(_, _, other, _)| *other == address).count();
        let most = waiting.iter().map(|(_, _, address, _)| holds(*address)).max();
        quiet
            .or_else(|| waiting.iter().find(|(_, _, address, _)| Some(holds(*address)) == most))
            .map(|(_, id, ..)| *id)
    }

    #[derive(Debug, Clone)]
    enum Step {
        Enter(u8),
        Stand(usize, u8),
        Leave(usize),
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..4u8).prop_map(Step::Enter),
            4 => (any::<usize>(), 0..3u8).prop_map(|(nth, standing)| Step::Stand(nth, standing)),
            1 => any::<usize>().prop_map(Step::Leave),
            2 => (0..1500u64).prop_map(Step::Pass),
        ]
    }

    proptest! {
        #[test]
        fn who_gives_way_is_who_the_plain_rule_names(steps in proptest::collection::vec(step(), 0..120)) {
            const MAX: usize = 6;
            let (mut crowd, mut held, mut now) = (Crowd::new(MAX), Vec::new(), Instant::now());
            for step in steps {
                match step {
                    Step::Enter(last) => {
                        let has_room = held.len() < MAX
                            || held.iter().any(|(_, _, standing)| *standing != Standing::Served);
                        prop_assert_eq!(crowd.has_room(), has_room);
                        if !has_room {
                            continue;
                        }
                        let (id, gave_way) = crowd.enter(address(last), now);
                        held.push((id, address(last), Standing::Quiet { since: now }));
                        let expected = (held.len() > MAX).then(|| model(&held, now)).flatten();
                        prop_assert_eq!(gave_way, expected);
                        held.retain(|(id, ..)| Some(*id) != gave_way);
                        prop_assert!(held.len() <= MAX);
                    }
                    Step::Stand(nth, standing) if !held.is_empty() => {
                        let nth = nth % held.len();
                        held[nth].2 = match standing {
                            0 => Standing::Quiet { since: now },
                            1 => Standing::Unfinished { since: now },
                            _ => Standing::Served,
                        };
                        prop_assert!(crowd.stands(held[nth].0, held[nth].2));
                    }
                    Step::Leave(nth) if !held.is_empty() => {
                        let (id, ..) = held.swap_remove(nth % held.len());
                        prop_assert!(crowd.leave(id));
                        prop_assert!(!crowd.leave(id));
                    }
                    Step::Stand(..) | Step::Leave(_) => {}
                    Step::Pass(milliseconds) => now += Duration::from_millis(milliseconds),
                }
            }
        }
    }
}
