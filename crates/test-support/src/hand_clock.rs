use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use certward_store::{Clock, Timestamp};

/// A manual clock.
#[derive(Debug)]
pub struct HandClock(AtomicI64);

impl HandClock {
    /// A clock at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.0))
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().after(by));
    }

    /// Sets it, also back.
    pub fn set(&self, to: Timestamp) {
        self.0.store(to.0, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}
