use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use certward_lifecycle::Entropy;
use certward_store::Clock;

/// How old what this node knows of trust may become before two-way deployments are refused: for an operator
/// who has devices wait rather than let in one whose CA may have been removed since.
///
/// The age counts from the sending of the last read of the feed that was answered, by a clock that goes on while
/// the machine sleeps. A process that has not read the feed yet knows no age, and refuses.
#[derive(Debug)]
pub(crate) struct TrustAge {
    clock: Arc<dyn Clock>,
    /// `None`: devices are served by what is known, however old that is.
    max: Option<Duration>,
    /// When the last read of the feed that was answered was sent.
    sent: Mutex<Option<Duration>>,
}

impl TrustAge {
    /// Up to a tenth is taken off `max`, at random, so that the nodes of a fleet do not all refuse at once.
    pub(crate) fn new(clock: Arc<dyn Clock>, max: Option<Duration>, entropy: &dyn Entropy) -> Self {
        let mut byte = [0];
        entropy.fill(&mut byte);
        let max = max.map(|max| max - max / 10 * u32::from(byte[0]) / 255);
        Self { clock, max, sent: Mutex::default() }
    }

    /// The time now: to be asked before the feed is read, for [`TrustAge::answered`].
    pub(crate) fn now(&self) -> Duration {
        self.clock.uptime()
    }

    /// The feed was read, by a request sent then.
    pub(crate) fn answered(&self, sent: Duration) {
        // Nothing that holds it can panic half-way through a change.
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner) = Some(sent);
    }

    /// Whether what this node knows of trust is too old to be served.
    pub(crate) fn is_over(&self) -> bool {
        let Some(max) = self.max else { return false };
        let sent = *self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.is_none_or(|sent| self.now().saturating_sub(sent) > max)
    }
}

#[cfg(test)]
mod tests {
    use certward_store::Timestamp;
    use certward_test_support::HandClock;

    use super::*;

    /// The same byte always.
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
        // What was sent long ago is old when it is answered.
        answer(served.now() - Duration::from_secs(200));
        assert_eq!(over(), [false, true, true]);
        answer(served.now());
        assert_eq!(over(), [false, false, false]);
    }
}
