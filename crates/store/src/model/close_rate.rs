use std::num::NonZeroU32;

use thiserror::Error;

/// How many sessions a change ends in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseRate(NonZeroU32);

/// Out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it must be a whole number from 1 to 1000000")]
pub struct CloseRateError;

impl CloseRate {
    const MAX: u32 = 1_000_000;

    /// Reads sessions per second; `None` for 0: at once.
    pub fn parse(per_second: i64) -> Result<Option<Self>, CloseRateError> {
        let rate = u32::try_from(per_second).ok().filter(|rate| *rate <= Self::MAX);
        rate.map(|rate| NonZeroU32::new(rate).map(Self)).ok_or(CloseRateError)
    }

    /// In sessions per second; 0 for at once.
    pub fn number(rate: Option<Self>) -> i64 {
        rate.map_or(0, |rate| i64::from(rate.get()))
    }

    /// In sessions per second.
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// What each of so many nodes may do of it, rounded up.
    #[must_use]
    pub fn shared_by(self, nodes: u64) -> Self {
        let nodes = NonZeroU32::new(u32::try_from(nodes).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN);
        Self(NonZeroU32::new(self.get().div_ceil(nodes.get())).unwrap_or(NonZeroU32::MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_whole_number_that_nodes_share() {
        for (number, is_one) in [(0, true), (1, true), (1_000_000, true), (1_000_001, false), (-1, false)] {
            let read = CloseRate::parse(number).map(CloseRate::number);
            assert_eq!(read, if is_one { Ok(number) } else { Err(CloseRateError) }, "{number}");
        }
        for (rate, nodes, each) in [(50, 0, 50), (50, 1, 50), (50, 3, 17), (2, 5, 1), (1, u64::MAX, 1)] {
            let rate = CloseRate::parse(rate).unwrap().unwrap();
            assert_eq!(rate.shared_by(nodes).get(), each, "{rate:?} of {nodes}");
        }
    }
}
