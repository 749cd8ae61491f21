use std::{collections::HashMap, hash::Hash};

use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

/// Limits repeated log messages: clients must not be able to fill the log.
#[derive(Debug, Default)]
pub(crate) struct LogThrottle(Mutex<Option<Instant>>);

/// Frequent enough to notice, rare enough for a week.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

impl LogThrottle {
    pub(crate) fn now(&self, now: Instant) -> bool {
        let mut last = self.0.lock();
        let due = last.is_none_or(|last| now.saturating_duration_since(last) >= LOG_INTERVAL);
        if due {
            *last = Some(now);
        }
        due
    }
}

/// A throttle per key, for at most [`KEYS_MAX`] keys per period.
#[derive(Debug)]
pub(crate) struct LogThrottles<K>(Mutex<HashMap<K, Instant>>);

const KEYS_MAX: usize = 32;

impl<K> Default for LogThrottles<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash> LogThrottles<K> {
    pub(crate) fn now(&self, of: &K, now: Instant) -> bool {
        let mut logged = self.0.lock();
        logged.retain(|_, last| now.saturating_duration_since(*last) < LOG_INTERVAL);
        let due = logged.len() < KEYS_MAX && !logged.contains_key(of);
        if due {
            logged.insert(of.clone(), now);
        }
        due
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_is_logged_and_then_one_a_minute() {
        let (throttle, start) = (LogThrottle::default(), Instant::now());
        let logged =
            [0, 0, 30, 59, 60, 61, 300].map(|seconds| throttle.now(start + Duration::from_secs(seconds)));
        assert_eq!(logged, [true, false, false, false, true, false, true]);
    }

    #[test]
    fn each_key_is_logged_once_a_minute_up_to_the_bound() {
        let (throttle, start) = (LogThrottles::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let logged = [(1, 0), (1, 30), (2, 30), (1, 60), (2, 60), (2, 90)];
        assert_eq!(
            logged.map(|(of, seconds)| throttle.now(&of, at(seconds))),
            [true, false, true, true, false, true]
        );
        let logged = (0..1000).filter(|of| throttle.now(of, at(1000))).count();
        assert_eq!((logged, throttle.len()), (KEYS_MAX, KEYS_MAX));
    }
}
