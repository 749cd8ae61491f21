use certward_store::ConnectionLimit;
use tokio::time::{Duration, Instant};

/// Billionths of a token keep all sums exact at any rate.
const PARTS_PER_TOKEN: u64 = 1_000_000_000;

/// Holds one second's tokens, at least one; full after an idle second, like a new one.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    /// In billionths of a token.
    level: u64,
    at: Instant,
}

impl TokenBucket {
    /// From empty to full, at any rate.
    const FULL_AFTER: Duration = Duration::from_secs(1);

    pub(crate) fn full(per_second: ConnectionLimit, now: Instant) -> Self {
        Self { level: u64::from(per_second.get()) * PARTS_PER_TOKEN, at: now }
    }

    /// The rate may differ from the last call's.
    pub(crate) fn take(&mut self, per_second: ConnectionLimit, now: Instant) -> bool {
        self.level = self.level_at(per_second, now);
        self.at = self.at.max(now);
        if self.level < PARTS_PER_TOKEN {
            return false;
        }
        self.level -= PARTS_PER_TOKEN;
        true
    }

    pub(crate) fn has_one(&self, per_second: ConnectionLimit, now: Instant) -> bool {
        self.level_at(per_second, now) >= PARTS_PER_TOKEN
    }

    fn level_at(&self, per_second: ConnectionLimit, now: Instant) -> u64 {
        let rate = u64::from(per_second.get());
        let since = now.saturating_duration_since(self.at).min(Self::FULL_AFTER);
        // At rate 1 a billionth per nanosecond. At most 10⁶ × 10⁹: no overflow.
        let gained = rate * u64::from(since.subsec_nanos()) + rate * PARTS_PER_TOKEN * since.as_secs();
        self.level.saturating_add(gained).min(rate * PARTS_PER_TOKEN)
    }

    pub(crate) fn is_full(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) >= Self::FULL_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u32) -> ConnectionLimit {
        ConnectionLimit::parse(per_second.into()).unwrap().unwrap()
    }

    fn taken(bucket: &mut TokenBucket, per_second: u32, now: Instant) -> u32 {
        let take = |_: &u32| {
            let has_one = bucket.has_one(rate(per_second), now);
            assert_eq!(bucket.take(rate(per_second), now), has_one);
            has_one
        };
        (0..10_000_000).take_while(take).count() as u32
    }

    #[test]
    fn one_seconds_worth_may_come_at_once_and_the_rest_at_the_rate() {
        for per_second in [1, 2, 3, 7, 1000, 999_999, 1_000_000] {
            let start = Instant::now();
            let mut bucket = TokenBucket::full(rate(per_second), start);
            assert_eq!(taken(&mut bucket, per_second, start), per_second, "at once");
            let mut more = 0;
            for ms in 1..=3000 {
                more += taken(&mut bucket, per_second, start + Duration::from_millis(ms));
            }
            assert_eq!(more, 3 * per_second, "in three seconds, not one more and not one fewer");
        }
    }

    #[test]
    fn a_long_silence_saves_up_no_more_than_a_second() {
        let start = Instant::now();
        let mut bucket = TokenBucket::full(rate(5), start);
        assert_eq!(taken(&mut bucket, 5, start), 5);
        assert!(!bucket.is_full(start + Duration::from_millis(999)));
        assert!(bucket.is_full(start + Duration::from_secs(1)));
        assert_eq!(taken(&mut bucket, 5, start + Duration::from_secs(3600)), 5);
    }

    #[test]
    fn a_new_rate_holds_from_the_next_token_on() {
        let start = Instant::now();
        let mut bucket = TokenBucket::full(rate(1000), start);
        assert_eq!(taken(&mut bucket, 2, start), 2, "narrower: what was saved up is cut");
        assert_eq!(taken(&mut bucket, 1000, start + Duration::from_millis(10)), 10, "wider");
    }
}
