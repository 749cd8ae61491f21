use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use certward_store::{Clock, SystemClock, Timestamp};
use time::OffsetDateTime;

/// The machine's clock with an offset.
#[derive(Debug, Default)]
pub(crate) struct ShiftedClock(AtomicI64);

impl ShiftedClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        Timestamp(SystemClock.now().0 + self.0.load(Ordering::SeqCst))
    }
}

/// By the machine's clock.
pub(crate) fn from_now(by: Duration) -> OffsetDateTime {
    SystemClock.now().after(by).to_time()
}
