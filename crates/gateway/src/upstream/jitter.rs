use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Randomness for load and delays only: outputs reveal all others.
#[derive(Debug)]
pub(super) struct Jitter(AtomicU64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014): a mixed counter that threads share.
    pub(super) fn next(&self) -> u64 {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self.0.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 if `end` is 0.
    pub(super) fn index_below(&self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
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
    fn the_throws_are_those_of_the_paper() {
        let jitter = Jitter::new(1_234_567);
        assert_eq!([jitter.next(), jitter.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
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
