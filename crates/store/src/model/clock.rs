use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};
use time::OffsetDateTime;

/// Milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// From a calendar time; the part below a millisecond is cut off.
    pub fn from_time(time: OffsetDateTime) -> Self {
        // Years stay within ±9999, so the quotient fits by far.
        Self((time.unix_timestamp_nanos() / 1_000_000) as i64)
    }

    /// As a calendar time in UTC; out of range ends at the range's edge.
    pub fn to_time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .unwrap_or(time::macros::datetime!(9999-12-31 23:59:59 UTC))
    }

    /// This time and `duration` later.
    pub fn after(self, duration: std::time::Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This time and `duration` earlier.
    pub fn before(self, duration: std::time::Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// Where the time comes from: handed in by `main`, moved by hand in tests.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment, for the age of things: it is never set back, and goes on while the machine
    /// sleeps. A clock that is moved by hand says it by [`Clock::now`].
    fn uptime(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.now().0).unwrap_or(0))
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::from_time(OffsetDateTime::now_utc())
    }

    fn uptime(&self) -> Duration {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
        // Neither is negative since the machine was started, and nanoseconds are fewer than a second has.
        Duration::new(u64::try_from(tv_sec).unwrap_or(0), u32::try_from(tv_nsec).unwrap_or(0))
    }
}
