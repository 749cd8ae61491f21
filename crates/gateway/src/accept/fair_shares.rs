//! Which unfinished connection to displace: the oldest of the address that holds most (ties: the
//! oldest of all). One flooding address displaces only its own; against many, a client has as long
//! as they take to fill the room.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

/// Memory follows the number of connections; adding or removing is O(log n).
#[derive(Debug)]
pub(crate) struct FairShares<T> {
    next: Age,
    len: usize,
    holders: HashMap<IpAddr, BTreeMap<Age, T>>,
    /// The last is displaced first. Kept in step with `holders`.
    ranking: BTreeSet<Rank>,
}

/// Order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Age(u64);

/// Connections held, age of the oldest.
type Rank = (usize, Reverse<Age>, IpAddr);

impl<T> FairShares<T> {
    pub(crate) fn new() -> Self {
        Self { next: Age(0), len: 0, holders: HashMap::new(), ranking: BTreeSet::new() }
    }

    pub(crate) fn add(&mut self, address: IpAddr, connection: T) -> Age {
        let age = self.next;
        self.next = Age(age.0 + 1);
        self.put(address, age, connection);
        age
    }

    /// `None`: already removed.
    pub(crate) fn remove(&mut self, address: IpAddr, age: Age) -> Option<T> {
        self.change(address, |held| held.remove(&age))
    }

    /// Keeps the age. False: already removed.
    pub(crate) fn move_to(&mut self, to: IpAddr, from: IpAddr, age: Age) -> bool {
        let Some(connection) = self.remove(from, age) else { return false };
        self.put(to, age, connection);
        true
    }

    pub(crate) fn displace(&mut self) -> Option<T> {
        let (_, _, address) = *self.ranking.last()?;
        self.displace_of(address)
    }

    pub(crate) fn displace_of(&mut self, address: IpAddr) -> Option<T> {
        self.change(address, |held| held.pop_first()).map(|(_, connection)| connection)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn len_of(&self, address: IpAddr) -> usize {
        self.holders.get(&address).map_or(0, BTreeMap::len)
    }

    fn put(&mut self, address: IpAddr, age: Age, connection: T) {
        self.change(address, |held| held.insert(age, connection));
    }

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
        // The addresses in order of arrival, and the connections displaced, in order.
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
        /// Removes the connection with this index.
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

    /// Oldest first.
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
                let holders = (0..5).filter(|last| model.count(*last) > 0).count();
                prop_assert_eq!((shares.holders.len(), shares.ranking.len()), (holders, holders));
            }
        }
    }
}
