use std::{collections::HashMap, hash::Hash};

use tokio::time::{Duration, Instant};

/// Keys counted at once; what other keys bring is counted together.
const KEYS_MAX: usize = 1_000;

/// Counts of what repeats, each with its first example, to be logged as one line.
#[derive(Debug)]
pub(crate) struct Tally<K, E> {
    counts: HashMap<K, Counted<E>>,
    others: u64,
}

#[derive(Debug)]
pub(crate) struct Counted<E> {
    pub(crate) count: u64,
    pub(crate) example: E,
    since: Instant,
}

impl<K, E> Default for Tally<K, E> {
    fn default() -> Self {
        Self { counts: HashMap::new(), others: 0 }
    }
}

impl<K: Clone + Eq + Hash, E> Tally<K, E> {
    /// `example` is only read for a new key.
    pub(crate) fn count(&mut self, key: &K, now: Instant, example: impl FnOnce() -> E) {
        if let Some(counted) = self.counts.get_mut(key) {
            counted.count += 1;
        } else if self.counts.len() < KEYS_MAX {
            self.counts.insert(key.clone(), Counted { count: 1, example: example(), since: now });
        } else {
            self.others += 1;
        }
    }

    /// Takes the counts that began `after` ago, largest first; and what was counted together, if
    /// anything is due.
    pub(crate) fn due(&mut self, now: Instant, after: Duration) -> (Vec<(K, Counted<E>)>, u64) {
        let is_due = |_: &K, counted: &mut Counted<E>| now.saturating_duration_since(counted.since) >= after;
        let mut due: Vec<_> = self.counts.extract_if(is_due).collect();
        due.sort_by_key(|(_, counted)| std::cmp::Reverse(counted.count));
        let others = if due.is_empty() { 0 } else { std::mem::take(&mut self.others) };
        (due, others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_due_once_its_time_is_over_and_begins_anew() {
        let (mut tally, start) = (Tally::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let minute = Duration::from_secs(60);
        for (key, seconds) in [("a", 0), ("a", 1), ("b", 30), ("a", 59)] {
            tally.count(&key, at(seconds), || seconds);
        }
        assert!(tally.due(at(59), minute).0.is_empty());
        let due = |tally: &mut Tally<_, _>, now| {
            let (due, others) = tally.due(now, minute);
            (
                due.into_iter().map(|(key, Counted { count, example, .. })| (key, count, example)).collect(),
                others,
            )
        };
        assert_eq!(due(&mut tally, at(60)), (vec![("a", 3, 0)], 0));
        tally.count(&"a", at(61), || 61);
        tally.count(&"a", at(62), || 62);
        assert_eq!(due(&mut tally, at(90)), (vec![("b", 1, 30)], 0));
        tally.count(&"c", at(70), || 70);
        assert_eq!(due(&mut tally, at(130)), (vec![("a", 2, 61), ("c", 1, 70)], 0), "the most first");
    }

    #[test]
    fn what_is_over_the_bound_is_counted_together() {
        let (mut tally, start) = (Tally::default(), Instant::now());
        (0..KEYS_MAX + 7).for_each(|key| tally.count(&key, start, || ()));
        tally.count(&0, start, || ());
        let (due, others) = tally.due(start, Duration::ZERO);
        assert_eq!((due.len(), others), (KEYS_MAX, 7));
        assert_eq!((due[0].0, due[0].1.count), (0, 2));
    }
}
