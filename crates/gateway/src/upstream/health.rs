//! Passive health of an address, from its connects.
//!
//! A failed connect marks it down: tried last, for a wait that grows with each failure at its end.
//! Then one connection at a time probes it first; any successful connect marks it up.

use std::time::Duration;

use tokio::time::Instant;

use super::jitter::part;

/// The wait doubles: a restart is noticed soon, a dead address is probed rarely.
const PROBE_WAIT_MIN: Duration = Duration::from_secs(1);
const PROBE_WAIT_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndpointHealth {
    Up { answered_at: Option<Instant> },
    Down { waits: u32, until: Instant, probed: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Eligibility {
    /// In its order.
    Now,
    /// In its order, as the only probe.
    Probe,
    /// After all others.
    AtLast,
}

impl EndpointHealth {
    pub(super) const NEW: Self = Self::Up { answered_at: None };

    pub(super) fn is_down(&self) -> bool {
        matches!(self, Self::Down { .. })
    }

    /// The caller must report how a probe ends.
    pub(super) fn eligibility(&mut self, now: Instant) -> Eligibility {
        match self {
            Self::Up { .. } => Eligibility::Now,
            Self::Down { until, probed, .. } if now >= *until && !*probed => {
                *probed = true;
                Eligibility::Probe
            }
            Self::Down { .. } => Eligibility::AtLast,
        }
    }

    /// Returns whether the state changed.
    pub(super) fn succeeded(&mut self, now: Instant) -> bool {
        let was_down = self.is_down();
        *self = Self::Up { answered_at: Some(now) };
        was_down
    }

    /// Records the failure of a connect started at `began`. Returns whether the state changed.
    pub(super) fn failed(&mut self, began: Instant, now: Instant, probe: bool, random: u64) -> bool {
        match *self {
            // A later connect succeeded: this one failed under load.
            Self::Up { answered_at: Some(answered_at) } if answered_at > began => false,
            Self::Up { .. } => {
                *self = Self::Down { waits: 1, until: now + wait(1, random), probed: false };
                true
            }
            // Last-resort tries do not extend the wait: a thousand devices would reach 30 s within
            // seconds.
            Self::Down { waits, until, probed } => {
                if probe || !probed && now >= until {
                    let waits = waits.saturating_add(1);
                    *self = Self::Down { waits, until: now + wait(waits, random), probed: false };
                }
                false
            }
        }
    }

    pub(super) fn abandoned(&mut self) {
        if let Self::Down { probed, .. } = self {
            *probed = false;
        }
    }

    pub(super) fn is_forgettable(&self, now: Instant) -> bool {
        match self {
            Self::Up { .. } => true,
            Self::Down { until, .. } => now.saturating_duration_since(*until) >= PROBE_WAIT_MAX,
        }
    }
}

/// Half of it is random: nodes must not probe in step.
fn wait(waits: u32, random: u64) -> Duration {
    let whole = PROBE_WAIT_MIN.saturating_mul(1 << waits.saturating_sub(1).min(5)).min(PROBE_WAIT_MAX);
    whole / 2 + part(whole / 2, random)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: u64 = u64::MAX;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_waits_double_from_one_second_to_thirty_and_are_cut_by_up_to_a_half() {
        for (waits, whole) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (7, 30), (u32::MAX, 30)] {
            assert_eq!(wait(waits, 0), seconds(whole) / 2);
            assert!(
                wait(waits, LONGEST) > seconds(whole) * 99 / 100 && wait(waits, LONGEST) <= seconds(whole)
            );
        }
    }

    #[test]
    fn a_failure_makes_it_the_last_choice_and_a_success_a_good_one_at_once() {
        let start = Instant::now();
        let mut health = EndpointHealth::NEW;
        assert_eq!(health.eligibility(start), Eligibility::Now);
        assert!(health.failed(start, start, false, LONGEST), "news");
        assert_eq!(health.eligibility(start), Eligibility::AtLast);
        assert!(!health.failed(start, start, false, LONGEST), "no news");
        assert!(health.succeeded(start), "news");
        assert_eq!(health.eligibility(start), Eligibility::Now);
        assert!(!health.succeeded(start), "no news");
    }

    #[test]
    fn when_the_wait_is_over_one_at_a_time_tries_it_again() {
        let start = Instant::now();
        let mut health = EndpointHealth::NEW;
        health.failed(start, start, false, LONGEST);
        assert_eq!(health.eligibility(start + seconds(1)), Eligibility::Probe);
        assert_eq!(health.eligibility(start + seconds(1)), Eligibility::AtLast, "while the probe goes on");
        health.abandoned();
        assert_eq!(health.eligibility(start + seconds(1)), Eligibility::Probe, "the first one went away");
        health.failed(start, start + seconds(1), true, LONGEST);
        assert_eq!(
            health.eligibility(start + seconds(2)),
            Eligibility::AtLast,
            "the wait is two seconds now"
        );
        assert_eq!(health.eligibility(start + seconds(3)), Eligibility::Probe);
        assert!(health.succeeded(start + seconds(3)));
    }

    #[test]
    fn those_who_try_it_at_last_do_not_make_the_wait_longer() {
        let start = Instant::now();
        let mut health = EndpointHealth::NEW;
        for _ in 0..1000 {
            health.failed(start, start, false, LONGEST);
        }
        assert_eq!(health.eligibility(start + seconds(1)), Eligibility::Probe);
        for _ in 0..1000 {
            health.failed(start, start + seconds(1), false, LONGEST);
        }
        assert_eq!(health.eligibility(start + seconds(1)), Eligibility::AtLast, "nor do they end the probe");
    }

    #[test]
    fn a_connect_that_began_before_another_one_succeeded_says_nothing() {
        let start = Instant::now();
        let mut health = EndpointHealth::NEW;
        health.succeeded(start + seconds(4));
        assert!(!health.failed(start, start + seconds(5), false, LONGEST));
        assert!(!health.is_down());
        assert!(health.failed(start + seconds(4), start + seconds(5), false, LONGEST));
    }

    #[test]
    fn state_unused_for_long_is_forgotten() {
        let start = Instant::now();
        let mut health = EndpointHealth::NEW;
        assert!(health.is_forgettable(start));
        health.failed(start, start, false, LONGEST);
        assert!(!health.is_forgettable(start + seconds(30)));
        assert!(health.is_forgettable(start + seconds(31)));
    }
}
