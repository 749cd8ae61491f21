//! Which of many unfinished connections gives way when there is no room for another: the oldest one of the address that holds most
//! (of several such addresses, the one whose oldest is the oldest).
//!
//! One address that opens as many as it can only displaces its own. Against many addresses with one each, every newcomer displaces
//! the oldest of all, so that a client has the time in which as many newcomers come as there is room for.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

/// Unfinished connections by address. What is kept of each grows and shrinks with their number; one that comes or goes costs
/// the logarithm of it.
#[derive(Debug)]
pub(crate) struct FairShares<T> {
    next: Age,
    len: usize,
    holders: HashMap<IpAddr, BTreeMap<Age, T>>,
    /// The last one gives way first. Kept in step with `holders`.
    ranking: BTreeSet<Rank>,
}

/// The order in which connections came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Age(u64);

/// How many an address holds, and how old its oldest is.
type Rank = (usize, Reverse<Age>, IpAddr);

impl<T> FairShares<T> {
    pub(crate) fn new() -> Self {
        Self { next: Age(0), len: 0, holders: HashMap::new(), ranking: BTreeSet::new() }
    }

    /// Adds a connection, the youngest of all.
    pub(crate) fn add(&mut self, address: IpAddr, connection: T) -> Age {
        let age = self.next;
        self.next = Age(age.0 + 1);
        self.put(address, age, connection);
        age
    }

    /// Removes a connection. `None`: it is not there, or no longer.
    pub(crate) fn remove(&mut self, address: IpAddr, age: Age) -> Option<T> {
        self.change(address, |held| held.remove(&age))
    }

    /// Counts a connection to another address; its age stays. False: it is not there, or no longer.
    pub(crate) fn move_to(&mut self, to: IpAddr, from: IpAddr, age: Age) -> bool {
        let Some(connection) = self.remove(from, age) else { return false };
        self.put(to, age, connection);
        true
    }

    /// Removes the connection that gives way first.
    pub(crate) fn displace(&mut self) -> Option<T> {
        let (_, _, address) = *self.ranking.last()?;
        self.displace_of(address)
    }

    /// Removes the oldest connection of an address.
    pub(crate) fn displace_of(&mut self, address: IpAddr) -> Option<T> {
        self.change(address, |held| held.pop_first()).map(|(_, connection)| connection)
    }

    /// How many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many of them an address holds.
    pub(crate) fn len_of(&self, address: IpAddr) -> usize {
        self.holders.get(&address).map_or(0, BTreeMap::len)
    }

    fn put(&mut self, address: IpAddr, age: Age, connection: T) {
        self.change(address, |held| held.insert(age, connection));
    }

    /// Changes what an address holds, and its rank with it.
    fn change<R>(&mut self, address: IpAddr, change: impl FnOnce(&mut BTreeMap<Age, T>) -> R) -> R {
        let held = self.holders.entry(address).or_default();
        if let Some(rank) = rank(address, held) {
            self.ranking.remove(&rank);
        }
        self.len -= held.len();
        let result = change(held);
        self.len += held.len();
        match rank(address, held) {
            Some(rank) => drop(self.ranking.insert(rank)),
            None => drop(self.holders.remove(&address)),
        }
        result
    }
}

fn rank<T>(address: IpAddr, held: &BTreeMap<Age, T>) -> Option<Rank> {
    let (oldest, _) = held.first_key_value()?;
    Some((held.len(), Reverse(*oldest), address))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn the_oldest_of_the_address_that_holds_most_gives_way() {
        // The addresses of the connections in the order in which they came, and which of them give way, in order.
        let cases: [(&[u8], &[usize]); 5] = [
            (&[1], &[0]),
            (&[1, 2, 3], &[0, 1, 2]),
            (&[1, 2, 2, 2], &[1, 2, 0, 3]),
            (&[1, 1, 2, 2, 2], &[2, 0, 3, 1, 4]),
            (&[7, 1, 1, 1, 1], &[1, 2, 3, 0, 4]),
        ];
        for (came, expected) in cases {
            let mut shares = FairShares::new();
            for (number, last) in came.iter().enumerate() {
                shares.add(address(*last), number);
            }
            let gave_way: Vec<_> = std::iter::from_fn(|| shares.displace()).collect();
            assert_eq!(gave_way, expected, "{came:?}");
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Come(u8),
        /// The connection with this number, of those that are there, goes.
        Go(prop::sample::Index),
        Move(prop::sample::Index, u8),
        GiveWay,
        GiveWayOf(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..5u8).prop_map(Step::Come),
            1 => any::<prop::sample::Index>().prop_map(Step::Go),
            1 => (any::<prop::sample::Index>(), 0..5u8).prop_map(|(index, to)| Step::Move(index, to)),
            1 => Just(Step::GiveWay),
            1 => (0..5u8).prop_map(Step::GiveWayOf),
        ]
    }

    /// The same as a plain list, the oldest first.
    #[derive(Default)]
    struct Model(Vec<(u8, Age)>);

    impl Model {
        fn count(&self, of: u8) -> usize {
            self.0.iter().filter(|(address, _)| *address == of).count()
        }

        fn first_to_give_way(&self) -> Option<usize> {
            let most = self.0.iter().map(|(address, _)| self.count(*address)).max()?;
            self.0.iter().position(|(address, _)| self.count(*address) == most)
        }

        fn take(&mut self, at: Option<usize>) -> Option<Age> {
            at.map(|at| self.0.remove(at).1)
        }
    }

    proptest! {
        #[test]
        fn it_does_as_the_plain_list_does(steps in prop::collection::vec(step(), 0..200)) {
            let (mut shares, mut model) = (FairShares::new(), Model::default());
            for step in steps {
                match step {
                    Step::Come(last) => {
                        let came = shares.next;
                        model.0.push((last, came));
                        prop_assert_eq!(shares.add(address(last), came), came);
                    }
                    Step::Go(index) if !model.0.is_empty() => {
                        let (last, age) = model.0.remove(index.index(model.0.len()));
                        prop_assert_eq!(shares.remove(address(last), age), Some(age));
                        prop_assert_eq!(shares.remove(address(last), age), None);
                        prop_assert!(!shares.move_to(address(last), address(last), age));
                    }
                    Step::Move(index, to) if !model.0.is_empty() => {
                        let at = index.index(model.0.len());
                        let (from, age) = model.0[at];
                        model.0[at].0 = to;
                        prop_assert!(shares.move_to(address(to), address(from), age));
                    }
                    Step::Go(_) | Step::Move(..) => {}
                    Step::GiveWay => {
                        let expected = model.first_to_give_way();
                        prop_assert_eq!(shares.displace(), model.take(expected));
                    }
                    Step::GiveWayOf(last) => {
                        let expected = model.0.iter().position(|(address, _)| *address == last);
                        prop_assert_eq!(shares.displace_of(address(last)), model.take(expected));
                    }
                }
                prop_assert_eq!(shares.len(), model.0.len());
                for last in 0..5 {
                    prop_assert_eq!(shares.len_of(address(last)), model.count(last));
                }
                // Nothing is kept of an address without connections.
                let holders = (0..5).filter(|last| model.count(*last) > 0).count();
                prop_assert_eq!((shares.holders.len(), shares.ranking.len()), (holders, holders));
            }
        }
    }
}
