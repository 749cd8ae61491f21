use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

/// Random numbers that a seed repeats (SplitMix64).
#[derive(Debug, Clone)]
pub struct Seeded(u64);

impl Seeded {
    /// From this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed in `CERTWARD_SEED`, else a new one.
    pub fn seed() -> u64 {
        match std::env::var("CERTWARD_SEED") {
            Ok(seed) => seed.parse().unwrap_or_else(|_| panic!("CERTWARD_SEED is no number: {seed}")),
            Err(_) => RandomState::new().build_hasher().finish(),
        }
    }

    /// Another sequence, which does not depend on how many numbers this one gives.
    #[must_use]
    pub fn fork(&self, number: u64) -> Self {
        Self(Self(self.0 ^ number.wrapping_mul(0xd134_2543_de82_ef95)).next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// A duration in milliseconds, below `end`.
    pub fn between(&mut self, begin: Duration, end: Duration) -> Duration {
        let width = usize::try_from((end - begin).as_millis()).expect("a short time");
        begin + Duration::from_millis(self.below(width) as u64)
    }

    /// Puts them in a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (2..=items.len()).rev() {
            items.swap(end - 1, self.below(end));
        }
    }
}
