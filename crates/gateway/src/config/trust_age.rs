use std::{sync::Arc, time::Duration};

use certward_lifecycle::Entropy;
use certward_store::Clock;
use parking_lot::Mutex;

/// Refuses two-way once trust is too old: a CA may have been removed since.
///
/// The age counts from the sending of the last answered feed read, on a clock that runs while the
/// machine sleeps. Without a read it refuses.
#[derive(Debug)]
pub(crate) struct TrustAge {
    clock: Arc<dyn Clock>,
    max: Option<Duration>,
    sent: Mutex<Option<Duration>>,
}

impl TrustAge {
    /// Shortens `max` by up to a tenth, at random, so that nodes do not refuse all at once.
    pub(crate) fn new(clock: Arc<dyn Clock>, max: Option<Duration>, entropy: &dyn Entropy) -> Self {
        let mut byte = [0];
        entropy.fill(&mut byte);
        let max = max.map(|max| max - max / 10 * u32::from(byte[0]) / 255);
        Self { clock, max, sent: Mutex::default() }
    }

    /// Must be called before the feed is read.
    pub(crate) fn now(&self) -> Duration {
        self.clock.uptime()
    }

    pub(crate) fn answered(&self, sent: Duration) {
        // No panic while the lock is held.
        *self.sent.lock() = Some(sent);
    }

    pub(crate) fn is_over(&self) -> bool {
        let Some(max) = self.max else { return false };
        let sent = *self.sent.lock();
        sent.is_none_or(|sent| self.now().saturating_sub(sent) > max)
    }
}

#[cfg(test)]
mod tests {
    use certward_store::Timestamp;
    use certward_test_support::HandClock;

    use super::*;

    #[derive(Debug)]
    struct Constant(u8);

    impl Entropy for Constant {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    fn age(clock: &Arc<HandClock>, max: Option<u64>, byte: u8) -> TrustAge {
        TrustAge::new(clock.clone(), max.map(Duration::from_secs), &Constant(byte))
    }

    #[test]
    fn trust_is_too_old_when_the_feed_was_not_read_for_longer_than_the_operator_allows() {
        let clock = Arc::new(HandClock::at(Timestamp(1_000_000)));
        let [served, refused, early] =
            [age(&clock, None, 0), age(&clock, Some(100), 0), age(&clock, Some(100), 255)];
        let over = || [&served, &refused, &early].map(TrustAge::is_over);
        assert_eq!(over(), [false, true, true], "nothing is read yet");
        let answer = |sent| [&served, &refused, &early].map(|age| age.answered(sent));
        answer(served.now());
        for (seconds, expected) in [
            (90, [false, false, false]),
            (1, [false, false, true]),
            (9, [false, false, true]),
            (1, [false, true, true]),
        ] {
            clock.advance(Duration::from_secs(seconds));
            assert_eq!(over(), expected, "{seconds} s later");
        }
        // Counted from the sending.
        answer(served.now() - Duration::from_secs(200));
        assert_eq!(over(), [false, true, true]);
        answer(served.now());
        assert_eq!(over(), [false, false, false]);
    }
}
