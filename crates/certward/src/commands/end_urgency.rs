use std::time::Duration;

use certward_store::Timestamp;

use crate::{api_time, api_types::EndingAnswer, style::Tone};

/// As `GET /expiring` lists them by default.
const SOON_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Renewal at a third of the lifetime is usual: less is late.
const LIFETIMES_SHARE: i64 = 3;

/// How soon something ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndUrgency {
    Expired,
    /// Within 30 days, with less than a third of its lifetime left.
    Soon,
    Later,
}

impl EndUrgency {
    pub(super) fn of(ending: &EndingAnswer, now: Timestamp) -> Self {
        let Some(end) = api_time::parse(&ending.expire) else { return Self::Later };
        if end <= now {
            return Self::Expired;
        }
        let left = end.0.saturating_sub(now.0);
        let lifetime = api_time::parse(&ending.begin).map(|begin| end.0.saturating_sub(begin.0));
        let is_late = lifetime.is_none_or(|lifetime| left.saturating_mul(LIFETIMES_SHARE) < lifetime);
        if end <= now.after(SOON_MAX) && is_late { Self::Soon } else { Self::Later }
    }

    pub(super) fn tone(self) -> Option<Tone> {
        match self {
            Self::Expired => Some(Tone::Bad),
            Self::Soon => Some(Tone::Doubtful),
            Self::Later => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn soon_is_a_third_of_the_lifetime_and_thirty_days() {
        let now = Timestamp::from_time(datetime!(2034-04-11 00:00:00 UTC));
        for (begin, expire, urgency) in [
            ("2034-01-11 00:00:00", "2034-04-10 23:59:59", EndUrgency::Expired),
            ("2034-01-11 00:00:00", "2034-04-11 00:00:00", EndUrgency::Expired),
            // 90 days with 29 and with 31 left.
            ("2034-02-09 00:00:00", "2034-05-10 00:00:00", EndUrgency::Soon),
            ("2034-02-11 00:00:00", "2034-05-12 00:00:00", EndUrgency::Later),
            // 6 days with one and with three left.
            ("2034-04-06 00:00:00", "2034-04-12 00:00:00", EndUrgency::Soon),
            ("2034-04-08 00:00:00", "2034-04-14 00:00:00", EndUrgency::Later),
            // Ten years with one left.
            ("2025-04-11 00:00:00", "2035-04-11 00:00:00", EndUrgency::Later),
            ("", "2034-04-12 00:00:00", EndUrgency::Soon),
            ("", "", EndUrgency::Later),
        ] {
            let ending = EndingAnswer {
                begin: begin.to_owned(),
                expire: expire.to_owned(),
                ..EndingAnswer::default()
            };
            assert_eq!(EndUrgency::of(&ending, now), urgency, "{begin} to {expire}");
        }
    }
}
