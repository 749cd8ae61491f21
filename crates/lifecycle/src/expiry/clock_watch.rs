//! Jumps of the clock: alerts say so, and no certificate is judged by it alone.

use std::time::Duration;

use certward_store::Timestamp;

/// Smaller ones are adjustments, or a restart.
pub(crate) const JUMP_MIN_MS: i64 = 60 * 60 * 1000;
/// How long alerts mention a jump.
const MENTIONED_FOR: Duration = Duration::from_secs(10 * 60);

/// Compares the clock with the time that passed.
#[derive(Debug, Default)]
pub(crate) struct ClockWatch {
    /// The clock and the uptime, when it was last looked at.
    last: Option<(Timestamp, Duration)>,
    jump: Option<(i64, Duration)>,
}

impl ClockWatch {
    /// A jump since the last call, in milliseconds; at first, since `newest`, the store's newest
    /// time.
    pub(crate) fn observe(
        &mut self,
        now: Timestamp,
        uptime: Duration,
        newest: Option<Timestamp>,
    ) -> Option<i64> {
        let jump = match (self.last.replace((now, uptime)), newest) {
            (Some((then, since)), _) => {
                let passed = i64::try_from(uptime.saturating_sub(since).as_millis()).unwrap_or(i64::MAX);
                now.0.saturating_sub(then.0).saturating_sub(passed)
            }
            (None, Some(newest)) => now.0.saturating_sub(newest.0),
            (None, None) => 0,
        };
        if jump.abs() < JUMP_MIN_MS {
            return None;
        }
        self.jump = Some((jump, uptime));
        Some(jump)
    }

    /// The last jump, while it is recent; 0 for none.
    pub(crate) fn recent(&self, uptime: Duration) -> i64 {
        let recent = self.jump.filter(|(_, at)| uptime.saturating_sub(*at) <= MENTIONED_FOR);
        recent.map_or(0, |(jump, _)| jump)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 60 * 60 * 1000;

    fn at(hours: i64) -> Timestamp {
        Timestamp(hours * HOUR)
    }

    fn up(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_start_compares_with_the_newest_time_of_the_store() {
        for (newest, expected) in [
            (None, None),
            (Some(at(100)), None),
            (Some(Timestamp(at(99).0 + 1)), None),
            (Some(at(99)), Some(HOUR)),
            (Some(at(200)), Some(-100 * HOUR)),
        ] {
            assert_eq!(ClockWatch::default().observe(at(100), up(5), newest), expected, "{newest:?}");
        }
    }

    #[test]
    fn time_that_passes_is_no_jump_and_one_is_mentioned_for_ten_minutes() {
        let mut watch = ClockWatch::default();
        assert_eq!(watch.observe(at(10), up(0), None), None);
        assert_eq!(watch.observe(at(15), up(5 * 3_600), None), None, "a pause of five hours");
        assert_eq!(watch.recent(up(5 * 3_600)), 0);
        assert_eq!(watch.observe(at(115), up(5 * 3_600), None), Some(100 * HOUR));
        assert_eq!(watch.recent(up(5 * 3_600 + 600)), 100 * HOUR);
        assert_eq!(watch.recent(up(5 * 3_600 + 601)), 0);
        assert_eq!(watch.observe(at(15), up(5 * 3_600), None), Some(-100 * HOUR));
    }
}
