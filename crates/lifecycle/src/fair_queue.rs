use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// Round-robin among keys, first in first out within a key.
#[derive(Debug)]
pub(crate) struct FairQueue<K, T> {
    /// Never empty.
    lines: HashMap<K, VecDeque<(Ticket, T)>>,
    /// Each key of `lines`, next first.
    turns: VecDeque<K>,
    tickets: u64,
}

/// Identifies an entry for removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

impl<K: Clone + Eq + Hash, T> Default for FairQueue<K, T> {
    fn default() -> Self {
        Self { lines: HashMap::new(), turns: VecDeque::new(), tickets: 0 }
    }
}

impl<K: Clone + Eq + Hash, T> FairQueue<K, T> {
    pub(crate) fn waiting(&self, key: &K) -> usize {
        self.lines.get(key).map_or(0, VecDeque::len)
    }

    pub(crate) fn push(&mut self, key: K, waiting: T) -> Ticket {
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        let line = self.lines.entry(key.clone()).or_default();
        if line.is_empty() {
            self.turns.push_back(key);
        }
        line.push_back((ticket, waiting));
        ticket
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let key = self.turns.pop_front()?;
        let line = self.lines.get_mut(&key)?;
        let next = line.pop_front();
        if line.is_empty() {
            self.lines.remove(&key);
        } else {
            self.turns.push_back(key);
        }
        next.map(|(_, waiting)| waiting)
    }

    /// Removes an entry, unless it was taken.
    pub(crate) fn remove(&mut self, key: &K, ticket: Ticket) {
        let Some(line) = self.lines.get_mut(key) else { return };
        line.retain(|(other, _)| *other != ticket);
        if line.is_empty() {
            self.lines.remove(key);
            self.turns.retain(|other| other != key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(queue: &mut FairQueue<char, &'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn keys_take_turns_and_those_of_one_key_keep_their_order() {
        let mut queue = FairQueue::default();
        for name in ["a1", "a2", "a3", "a4", "b1", "c1", "b2"] {
            queue.push(name.chars().next().unwrap(), name);
        }
        assert_eq!(order(&mut queue), ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]);
    }

    #[test]
    fn a_new_key_waits_for_one_of_each_other_key_however_many_these_have() {
        let mut queue = FairQueue::default();
        for name in ["a1", "a2", "a3"] {
            queue.push('a', name);
        }
        assert_eq!(queue.pop(), Some("a1"));
        queue.push('b', "b1");
        assert_eq!(order(&mut queue), ["a2", "b1", "a3"]);
    }

    #[test]
    fn who_leaves_takes_nobodys_turn() {
        let mut queue = FairQueue::default();
        let gone: Vec<_> =
            [('a', "a1"), ('b', "b1"), ('b', "b2")].map(|(key, name)| (key, queue.push(key, name))).into();
        queue.push('a', "a2");
        queue.push('c', "c1");
        for (key, ticket) in gone {
            queue.remove(&key, ticket);
            queue.remove(&key, ticket);
        }
        assert_eq!((queue.waiting(&'a'), queue.waiting(&'b')), (1, 0));
        assert_eq!(order(&mut queue), ["a2", "c1"]);
    }

    proptest! {
        /// Model: the waiting key served longest ago, else the first.
        #[test]
        fn it_is_the_queue_of_the_plain_rule(steps in proptest::collection::vec((0..3u8, 0..4u8, any::<usize>()), 0..80)) {
            let mut queue = FairQueue::default();
            let mut list: Vec<(u8, Ticket, usize)> = Vec::new();
            let mut since: HashMap<u8, usize> = HashMap::new();
            for (time, (step, key, nth)) in steps.into_iter().enumerate() {
                match step {
                    0 => {
                        if !list.iter().any(|(other, ..)| *other == key) {
                            since.insert(key, time);
                        }
                        let ticket = queue.push(key, time);
                        list.push((key, ticket, time));
                    }
                    1 if !list.is_empty() => {
                        let (key, ticket, _) = list.remove(nth % list.len());
                        queue.remove(&key, ticket);
                    }
                    _ => {
                        let next = list.iter().map(|(key, ..)| *key).min_by_key(|key| since[key]);
                        let place = next.and_then(|key| list.iter().position(|(other, ..)| *other == key));
                        prop_assert_eq!(queue.pop(), place.map(|place| list.remove(place).2));
                        next.map(|key| since.insert(key, time));
                    }
                }
                for key in 0..4 {
                    prop_assert_eq!(queue.waiting(&key), list.iter().filter(|(other, ..)| *other == key).count());
                }
            }
        }
    }
}
