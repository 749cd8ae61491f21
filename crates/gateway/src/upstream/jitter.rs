use std::time::Duration;

use fastrand::Rng;
use parking_lot::Mutex;

/// Randomness for load and delays only: outputs reveal all others.
#[derive(Debug)]
pub(super) struct Jitter(Mutex<Rng>);

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self(Mutex::new(Rng::with_seed(seed)))
    }

    pub(super) fn next(&self) -> u64 {
        self.0.lock().u64(..)
    }

    /// 0 if `end` is 0.
    pub(super) fn index_below(&self, end: usize) -> usize {
        self.0.lock().usize(..end.max(1))
    }

    pub(super) fn delay(&self, max: Duration) -> Duration {
        part(max, self.next())
    }
}

/// Scales `whole` by `random` / 2^64.
pub(super) fn part(whole: Duration, random: u64) -> Duration {
    // 32 bits suffice and keep the product exact.
    Duration::from_nanos(((whole.as_nanos() * u128::from(random >> 32)) >> 32) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_determines_the_throws() {
        let throws = |seed| {
            let jitter = Jitter::new(seed);
            [jitter.next(), jitter.next()]
        };
        assert_eq!(throws(7), throws(7));
        assert_ne!(throws(7), throws(8));
    }

    #[test]
    fn waits_and_places_are_spread_over_all_that_is_allowed() {
        let jitter = Jitter::new(0);
        assert_eq!(jitter.index_below(0), 0);
        let mut seen = [0; 3];
        (0..3000).for_each(|_| seen[jitter.index_below(3)] += 1);
        assert!(seen.iter().all(|times| (800..1200).contains(times)), "{seen:?}");
        let whole = Duration::from_secs(30);
        let waits: Vec<_> = (0..1000).map(|_| jitter.delay(whole)).collect();
        assert!(waits.iter().all(|wait| *wait < whole));
        assert!(
            waits.iter().any(|wait| *wait < whole / 10) && waits.iter().any(|wait| *wait > whole * 9 / 10)
        );
    }
}
