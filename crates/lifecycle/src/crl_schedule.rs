//! When a CRL is fetched again.
//!
//! It is asked for between 70 % and 90 % of its life, for a CA publishes the next one before
//! nextUpdate; and once a day at least, for a CA may publish sooner after a revocation. While the
//! server still has the old one, the pauses shrink with the time that is left. Failures back off
//! from a minute to an hour, and less far near nextUpdate.

use std::time::Duration;

use certward_store::Timestamp;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Between fetches that succeed: a CRL may have 16 MiB.
const PAUSE_MIN: Duration = Duration::from_secs(5 * 60);
/// In thousandths of a percent of the life; the rest is added at random.
const EARLIEST: u64 = 70_000;
const SPREAD: u64 = 20_000;
/// A pause is this share of the time until nextUpdate, or since.
const PAUSES_LEFT: u32 = 10;
/// In thousandths of a percent of a pause, which is shortened at random: deployments of one CA do
/// not ask at once for ever.
const JITTER: u64 = 10_000;
const WHOLE: u32 = 100_000;

/// From when to when a CRL is current.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CrlLife {
    /// thisUpdate.
    pub(crate) this_update: Timestamp,
    /// nextUpdate, which RFC 5280 §5.1.2.5 requires and X.509 does not.
    pub(crate) next_update: Option<Timestamp>,
}

/// After a fetch that gave the CRL in service, or found it unmodified: 5 minutes to a day from
/// `now`. `random` is uniform.
pub(crate) fn next_fetch(life: CrlLife, now: Timestamp, random: u32) -> Timestamp {
    let day = shortened(DAY, random);
    let pause = match life.next_update {
        None => day,
        Some(next_update) => match first_fetch(life.this_update, next_update, random) {
            first if first > now => first.since(now).min(day),
            _ => shortened(renewal_pause(next_update, now), random),
        },
    };
    now.after(pause.max(PAUSE_MIN))
}

/// After failure number `failures` in a row, from 1: a minute to an hour from `now`, less the
/// jitter. `life` is of the CRL in service, if there is one.
pub(crate) fn retry_fetch(life: Option<CrlLife>, failures: u32, now: Timestamp, random: u32) -> Timestamp {
    let doublings = failures.saturating_sub(1).min(6);
    let backoff = (MINUTE * (1 << doublings)).min(HOUR);
    let next_update = life.and_then(|life| life.next_update);
    let pause = next_update.map_or(backoff, |it| backoff.min(renewal_pause(it, now)));
    now.after(shortened(pause, random))
}

fn first_fetch(this_update: Timestamp, next_update: Timestamp, random: u32) -> Timestamp {
    let life = next_update.since(this_update);
    this_update.after((life / WHOLE).saturating_mul(scaled(EARLIEST, SPREAD, random)))
}

/// While the server has no newer CRL: geometrically shorter up to nextUpdate, then longer again.
fn renewal_pause(next_update: Timestamp, now: Timestamp) -> Duration {
    match next_update > now {
        true => (next_update.since(now) / PAUSES_LEFT).clamp(PAUSE_MIN, DAY),
        false => (now.since(next_update) / PAUSES_LEFT).clamp(PAUSE_MIN, HOUR),
    }
}

fn shortened(pause: Duration, random: u32) -> Duration {
    (pause / WHOLE).saturating_mul(WHOLE - scaled(0, JITTER, random))
}

/// `from` to `from + spread`.
fn scaled(from: u64, spread: u64, random: u32) -> u32 {
    u32::try_from(from + spread * u64::from(random) / u64::from(u32::MAX)).unwrap_or(WHOLE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: i64 = 1000;
    const M: i64 = 60 * S;
    const H: i64 = 60 * M;
    const D: i64 = 24 * H;
    const HALF: u32 = u32::MAX / 2;

    fn life(this_update: i64, next_update: i64) -> CrlLife {
        CrlLife { this_update: Timestamp(this_update), next_update: Some(Timestamp(next_update)) }
    }

    #[test]
    fn a_crl_is_asked_for_well_before_its_end_and_once_a_day() {
        // thisUpdate is 0; then nextUpdate, now, the random number, the pause.
        for (next_update, now, random, pause) in [
            // Half a day: between 70 % and 90 % of it.
            (12 * H, 0, 0, 8 * H + 24 * M),
            (12 * H, 0, HALF, 9 * H + 36 * M),
            (12 * H, 0, u32::MAX, 10 * H + 48 * M),
            // Fetched late in its life, with 80 % still ahead.
            (12 * H, 9 * H, HALF, 36 * M),
            // A year: daily, with a jitter of a tenth.
            (365 * D, 0, 0, D),
            (365 * D, 0, u32::MAX, D - D / 10),
            // Past that point, and not replaced: a tenth of the time left.
            (12 * H, 10 * H, 0, 12 * M),
            (12 * H, 11 * H, HALF, 6 * M - 18 * S),
            (12 * H, 11 * H + 50 * M, 0, 5 * M),
            (365 * D, 355 * D, 0, D),
            (365 * D, 360 * D, 0, 12 * H),
            // Stale: the longer it has been, the less often.
            (12 * H, 12 * H, 0, 5 * M),
            (12 * H, 15 * H, 0, 18 * M),
            (12 * H, 365 * D, 0, H),
            // Shorter lives than the shortest pause.
            (M, 0, 0, 5 * M),
            (6 * M, 0, HALF, 5 * M),
            // Ends before it begins.
            (-H, 0, 0, 6 * M),
        ] {
            let due = next_fetch(life(0, next_update), Timestamp(now), random);
            // The shares are rounded down.
            let off = (due.0 - now - pause).abs();
            assert!(off <= S, "{next_update} at {now} by {random}: {} and not {pause}", due.0 - now);
        }
        let endless = CrlLife { this_update: Timestamp(0), next_update: None };
        assert_eq!(next_fetch(endless, Timestamp(H), 0), Timestamp(H + D));
    }

    #[test]
    fn failures_back_off_and_less_far_near_the_end() {
        let year = life(0, 365 * D);
        for (failures, minutes) in
            [(0, 1), (1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 60), (8, 60), (u32::MAX, 60)]
        {
            for life in [None, Some(year), Some(CrlLife { next_update: None, ..year })] {
                let due = retry_fetch(life, failures, Timestamp(D), 0);
                assert_eq!(due, Timestamp(D + minutes * M), "failure {failures}");
            }
        }
        for (now, failures, pause) in [
            // A tenth of the time left, where the failures alone would give more.
            (365 * D - 5 * H, 7, 30 * M),
            (365 * D - H, 7, 6 * M),
            (365 * D - M, 7, 5 * M),
            (365 * D - M, 1, M),
            (365 * D + H, 7, 6 * M),
            (365 * D + 30 * D, 7, H),
        ] {
            assert_eq!(retry_fetch(Some(year), failures, Timestamp(now), 0), Timestamp(now + pause));
        }
        assert_eq!(retry_fetch(None, 7, Timestamp(0), u32::MAX), Timestamp(54 * M));
    }

    /// A CA that publishes at 50 % or at the very end: how often it is asked, and how late it is
    /// noticed.
    #[test]
    fn a_new_crl_is_found_before_the_old_one_ends_or_minutes_after() {
        for (life_ms, published_at, fetches_max, late_max) in [
            (D, D / 2, 1, 0),
            (7 * D, 7 * D / 2, 8, 0),
            (7 * D, 7 * D, 60, 6 * M),
            (365 * D, 365 * D, 460, 6 * M),
        ] {
            let (mut now, mut fetches, mut random) = (Timestamp(0), 0, 1_u32);
            while now.0 < published_at {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                now = next_fetch(life(0, life_ms), now, random);
                fetches += 1;
            }
            assert!(fetches <= fetches_max, "{life_ms}: {fetches} fetches");
            assert!(now.0 - life_ms <= late_max, "{life_ms}: {} ms after its end", now.0 - life_ms);
        }
    }

    proptest! {
        #[test]
        fn a_pause_is_five_minutes_to_a_day(
            this_update in any::<i64>(), next_update in any::<Option<i64>>(), now in -D * 4_000_000..D * 4_000_000,
            random in any::<u32>(),
        ) {
            let life = CrlLife { this_update: Timestamp(this_update), next_update: next_update.map(Timestamp) };
            let pause = next_fetch(life, Timestamp(now), random).0 - now;
            prop_assert!((5 * M..=D).contains(&pause), "{pause}");
        }

        #[test]
        fn a_crl_is_asked_for_before_it_ends(
            life_ms in H..1000 * D, at in 0.0..0.9, random in any::<u32>(),
        ) {
            let now = (life_ms as f64 * at) as i64;
            let due = next_fetch(life(0, life_ms), Timestamp(now), random).0;
            prop_assert!(due < life_ms, "{due} of {life_ms} at {now}");
        }

        #[test]
        fn a_failure_is_repeated_within_the_hour(
            life in any::<Option<(i64, Option<i64>)>>(), failures in any::<u32>(),
            now in -D * 4_000_000..D * 4_000_000, random in any::<u32>(),
        ) {
            let life = life.map(|(this, next)| CrlLife {
                this_update: Timestamp(this), next_update: next.map(Timestamp),
            });
            let pause = retry_fetch(life, failures, Timestamp(now), random).0 - now;
            prop_assert!((54 * S..=H).contains(&pause), "{pause}");
        }
    }
}
