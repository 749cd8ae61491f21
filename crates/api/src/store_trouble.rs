use std::time::Duration;

use certward_store::StoreError;
use parking_lot::Mutex;
use tokio::time::Instant;

const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Logs store errors at once, then at most once per [`LOG_INTERVAL`] with a count: in an outage any
/// client's request fails, and must not fill the disk.
#[derive(Debug, Default)]
pub(crate) struct StoreTrouble(Mutex<Option<LastLog>>);

#[derive(Debug, Clone, Copy)]
struct LastLog {
    at: Instant,
    /// Requests since then.
    unsaid: u64,
}

/// An answer's store error, for the access log.
#[derive(Debug, Clone)]
pub(crate) struct StoreTroubleCause {
    text: String,
    /// Transient.
    passes: bool,
}

impl StoreTroubleCause {
    pub(crate) fn of(error: &StoreError) -> Self {
        Self { text: error.to_string(), passes: matches!(error, StoreError::Unavailable(_)) }
    }
}

impl StoreTrouble {
    pub(crate) fn note(&self, cause: &StoreTroubleCause, now: Instant) {
        let Some(requests) = self.count(now) else { return };
        let error = cause.text.as_str();
        if cause.passes {
            tracing::warn!(error, requests, "the store is unavailable");
        } else {
            tracing::error!(error, requests, "the store cannot be read");
        }
    }

    /// The count to log; `None` within [`LOG_INTERVAL`].
    fn count(&self, now: Instant) -> Option<u64> {
        let mut said = self.0.lock();
        match &mut *said {
            Some(LastLog { at, unsaid }) if now.duration_since(*at) < LOG_INTERVAL => {
                *unsaid = unsaid.saturating_add(1);
                None
            }
            before => {
                let unsaid = before.map_or(0, |said| said.unsaid);
                *before = Some(LastLog { at: now, unsaid: 0 });
                Some(unsaid.saturating_add(1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_at_once_and_then_now_and_then_for_how_many() {
        let (trouble, start) = (StoreTrouble::default(), Instant::now());
        let at = |seconds| trouble.count(start + Duration::from_secs(seconds));
        assert_eq!(at(0), Some(1));
        for second in 0..10 {
            assert_eq!(at(second), None);
        }
        assert_eq!(at(10), Some(11));
        assert_eq!(at(19), None);
        assert_eq!(at(3_600), Some(2));
    }
}
