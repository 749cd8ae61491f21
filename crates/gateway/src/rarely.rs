use std::sync::{Mutex, PoisonError};

use tokio::time::{Duration, Instant};

/// Says whether it is time to say something again: what strangers can repeat at will must not fill the log.
#[derive(Debug, Default)]
pub(crate) struct Rarely(Mutex<Option<Instant>>);

/// Often enough to be seen by who looks, seldom enough for a week of it.
const AT_MOST_EVERY: Duration = Duration::from_secs(60);

impl Rarely {
    pub(crate) fn now(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| now.saturating_duration_since(last) >= AT_MOST_EVERY);
        if due {
            *last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_at_once_and_then_once_a_minute() {
        let (rarely, start) = (Rarely::default(), Instant::now());
        let said =
            [0, 0, 30, 59, 60, 61, 300].map(|seconds| rarely.now(start + Duration::from_secs(seconds)));
        assert_eq!(said, [true, false, false, false, true, false, true]);
    }
}
