//! The clock, against what was certainly written before now.

use std::time::Duration;

use certward_lifecycle::relative;
use certward_store::Timestamp;

use super::check::{Check, CheckKind};
use crate::api_time::show;

/// A shorter step back is an adjustment.
const BEHIND_MAX: Duration = Duration::from_secs(5 * 60);
/// Certificates are judged by this machine's clock, leases by the database's.
const APART_MAX: Duration = Duration::from_secs(10);
const FIX: &str = "timedatectl set-ntp true";

/// The program's file is as old as its installation.
pub(super) fn of_program(now: Timestamp) -> Option<Check> {
    let file = std::env::current_exe().ok()?;
    let changed = std::fs::metadata(file).and_then(|metadata| metadata.modified()).ok()?;
    Some(against_program(Timestamp::from_time(changed.into()), now))
}

fn against_program(installed: Timestamp, now: Timestamp) -> Check {
    let kind = CheckKind::ProgramClock;
    if installed.since(now) <= BEHIND_MAX {
        return Check::ok(kind, format!("this clock says {} UTC", show(now.to_time())));
    }
    let sentence = format!(
        "this clock, {} UTC, is before the time that certward was installed at, {} UTC: certificates look as if they were not \
         valid yet",
        show(now.to_time()),
        show(installed.to_time())
    );
    Check::error(kind, sentence, FIX)
}

pub(super) fn against_store(newest: Option<Timestamp>, now: Timestamp) -> Check {
    let kind = CheckKind::StoreClock;
    let Some(newest) = newest else {
        return Check::ok(kind, "the store has no entry to compare this clock with");
    };
    if newest.since(now) <= BEHIND_MAX {
        return Check::ok(
            kind,
            format!("the store's newest entry was made {}", relative(newest.min(now), now)),
        );
    }
    let ahead = relative(newest, now);
    let ahead = ahead.strip_prefix("in ").unwrap_or(&ahead);
    let sentence = format!(
        "the store's newest entry, {} UTC, is {ahead} ahead of this clock, {} UTC: one of them is wrong, and certificates are judged \
         by this clock",
        show(newest.to_time()),
        show(now.to_time())
    );
    Check::error(kind, sentence, FIX)
}

pub(super) fn against_database(database: Timestamp, now: Timestamp) -> Option<Check> {
    let apart = database.since(now).max(now.since(database));
    (apart > APART_MAX).then(|| {
        let sentence = format!(
            "the database's clock is {} s apart from this one: {} and {} UTC",
            apart.as_secs(),
            show(database.to_time()),
            show(now.to_time())
        );
        Check::warning(CheckKind::StoreClock, sentence, format!("{FIX}, on both machines"))
    })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::commands::doctor::check::Verdict;

    #[test]
    fn a_clock_that_goes_back_is_named_with_both_times() {
        let now = Timestamp::from_time(datetime!(2034-04-11 02:43:20 UTC));
        let year = Duration::from_secs(365 * 24 * 3600);
        let minute = Duration::from_secs(60);
        for (newest, verdict, says) in [
            (None, Verdict::Ok, "no entry"),
            (Some(now), Verdict::Ok, "just now"),
            (Some(now.before(year)), Verdict::Ok, "was made 365 days ago"),
            (Some(now.after(minute)), Verdict::Ok, "just now"),
            (Some(now.after(6 * minute)), Verdict::Error, "is 6 minutes ahead of this clock"),
            (
                Some(now.after(year)),
                Verdict::Error,
                "2035-04-11 02:43:20 UTC, is 365 days ahead of this clock, 2034-04-11 02:43:20 UTC",
            ),
        ] {
            let check = against_store(newest, now);
            assert_eq!(check.verdict, verdict, "{check:?}");
            assert!(check.sentence.contains(says), "{check:?}");
        }
        assert_eq!(against_program(now.after(year), now).verdict, Verdict::Error);
        assert_eq!(against_program(now.before(year), now).verdict, Verdict::Ok);
        assert_eq!(against_database(now.after(minute / 12), now), None);
        for database in [now.after(minute), now.before(minute)] {
            assert_eq!(against_database(database, now).map(|check| check.verdict), Some(Verdict::Warning));
        }
    }
}
