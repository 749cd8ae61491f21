//! What devices of one deployment meet at its broker, and when that is trouble.
//!
//! Passive: only devices' connections tell. A broker that closes connections without a byte is in
//! trouble after three in a row, for one of them may be a device's own fault.

use certward_store::Timestamp;
use tokio::time::{Duration, Instant};

/// Unanswered connections in a row.
const UNANSWERED_MAX: u32 = 3;
/// A row ends if none follows for so long.
const ROW_TIMEOUT: Duration = Duration::from_secs(600);
/// Connections that the broker ended within it before a trouble belong to it.
const ENDED_WINDOW: Duration = Duration::from_secs(30);

/// A stable name of docs/brokers.md.
pub(crate) const NO_ANSWER: &str = "no_answer";
const NO_ANSWER_ERROR: &str = "it accepts connections and ends them without an answer";

/// Of one deployment, through listeners of one protocol, with one set of the broker's settings.
#[derive(Debug, Default)]
pub(super) struct Encounters {
    pub(super) trouble: Option<Trouble>,
    unanswered: Option<Unanswered>,
    ended: Option<RecentEnds>,
}

/// Connections of devices do not reach their broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) reason: &'static str,
    pub(crate) error: String,
    pub(crate) since: Timestamp,
    pub(crate) last_at: Timestamp,
    pub(crate) turned_away: u64,
    pub(crate) disconnected: u64,
}

/// What an event changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    Began(Trouble),
    /// From this reason to another.
    Changed(&'static str, Trouble),
    Over(Trouble),
}

#[derive(Debug, Clone, Copy)]
struct Unanswered {
    count: u32,
    since: Timestamp,
    last: Instant,
}

#[derive(Debug, Clone, Copy)]
struct RecentEnds {
    count: u64,
    first: Instant,
}

impl Unanswered {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= ROW_TIMEOUT
    }
}

impl RecentEnds {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.first) >= ENDED_WINDOW
    }
}

impl Encounters {
    /// A connection could not be made.
    pub(super) fn failed(
        &mut self,
        reason: &'static str,
        error: String,
        at: Timestamp,
        now: Instant,
    ) -> Option<Turn> {
        self.turn_away(reason, error, 1, at, at, now)
    }

    pub(super) fn connected(&mut self) -> Option<Turn> {
        match &self.trouble {
            Some(trouble) if trouble.reason != NO_ANSWER => self.trouble.take().map(Turn::Over),
            _ => None,
        }
    }

    /// The broker's first byte.
    pub(super) fn answered(&mut self) -> Option<Turn> {
        self.unanswered = None;
        self.trouble.take().map(Turn::Over)
    }

    /// A connection ended without a byte of the broker.
    pub(super) fn unanswered(&mut self, at: Timestamp, now: Instant) -> Option<Turn> {
        let row = self.unanswered.filter(|row| !row.is_over(now));
        let (before, since) = row.map_or((0, at), |row| (row.count, row.since));
        let count = before.saturating_add(1);
        self.unanswered = Some(Unanswered { count, since, last: now });
        if count < UNANSWERED_MAX {
            return None;
        }
        let turned_away = if count == UNANSWERED_MAX { count } else { 1 };
        self.turn_away(NO_ANSWER, NO_ANSWER_ERROR.to_owned(), u64::from(turned_away), since, at, now)
    }

    /// The broker ended a connection that it had answered.
    pub(super) fn ended(&mut self, now: Instant) {
        if let Some(trouble) = &mut self.trouble {
            trouble.disconnected += 1;
            return;
        }
        match &mut self.ended {
            Some(ended) if !ended.is_over(now) => ended.count += 1,
            ended => *ended = Some(RecentEnds { count: 1, first: now }),
        }
    }

    /// Whether nothing would be lost.
    pub(super) fn is_forgettable(&self, now: Instant) -> bool {
        self.trouble.is_none()
            && self.unanswered.is_none_or(|row| row.is_over(now))
            && self.ended.is_none_or(|ended| ended.is_over(now))
    }

    fn turn_away(
        &mut self,
        reason: &'static str,
        error: String,
        devices: u64,
        since: Timestamp,
        at: Timestamp,
        now: Instant,
    ) -> Option<Turn> {
        if let Some(trouble) = &mut self.trouble {
            trouble.turned_away += devices;
            trouble.last_at = at;
            trouble.error = error;
            let before = std::mem::replace(&mut trouble.reason, reason);
            return (before != reason).then(|| Turn::Changed(before, trouble.clone()));
        }
        let recent = self.ended.take().filter(|ended| !ended.is_over(now));
        let disconnected = recent.map_or(0, |ended| ended.count);
        let trouble = Trouble { reason, error, since, last_at: at, turned_away: devices, disconnected };
        self.trouble = Some(trouble.clone());
        Some(Turn::Began(trouble))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &str = "refused";

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    struct Broker {
        encounters: Encounters,
        start: Instant,
    }

    impl Broker {
        fn new() -> Self {
            Self { encounters: Encounters::default(), start: Instant::now() }
        }

        fn instant(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }

        fn refuses(&mut self, seconds: u64) -> Option<Turn> {
            let now = self.instant(seconds);
            self.encounters.failed(REFUSED, REFUSED.into(), at(seconds as i64), now)
        }

        fn is_silent(&mut self, seconds: u64) -> Option<Turn> {
            let now = self.instant(seconds);
            self.encounters.unanswered(at(seconds as i64), now)
        }

        fn ends(&mut self, seconds: u64) {
            self.encounters.ended(self.instant(seconds));
        }
    }

    fn trouble(
        reason: &'static str,
        since: i64,
        last_at: i64,
        turned_away: u64,
        disconnected: u64,
    ) -> Trouble {
        let error = if reason == NO_ANSWER { NO_ANSWER_ERROR } else { reason };
        let (since, last_at) = (at(since), at(last_at));
        Trouble { reason, error: error.into(), since, last_at, turned_away, disconnected }
    }

    #[test]
    fn a_refused_connection_is_trouble_until_one_is_made() {
        let mut broker = Broker::new();
        assert_eq!(broker.encounters.connected(), None);
        assert_eq!(broker.refuses(5), Some(Turn::Began(trouble(REFUSED, 5, 5, 1, 0))));
        assert_eq!(broker.refuses(6), None);
        assert_eq!(broker.encounters.connected(), Some(Turn::Over(trouble(REFUSED, 5, 6, 2, 0))));
        assert_eq!(broker.encounters.connected(), None);
    }

    #[test]
    fn three_unanswered_connections_in_a_row_are_trouble_until_one_is_answered() {
        let mut broker = Broker::new();
        assert_eq!([broker.is_silent(1), broker.is_silent(2)], [None, None]);
        assert_eq!(broker.encounters.answered(), None);
        assert_eq!([broker.is_silent(3), broker.is_silent(4)], [None, None]);
        assert_eq!(broker.is_silent(5), Some(Turn::Began(trouble(NO_ANSWER, 3, 5, 3, 0))));
        assert_eq!(broker.encounters.connected(), None, "it accepts, and does not answer");
        assert_eq!(broker.is_silent(6), None);
        assert_eq!(broker.encounters.answered(), Some(Turn::Over(trouble(NO_ANSWER, 3, 6, 4, 0))));
        assert_eq!([broker.is_silent(7), broker.is_silent(8)], [None, None], "counted from the start");
        assert_eq!(broker.is_silent(8 + ROW_TIMEOUT.as_secs()), None, "no row");
    }

    #[test]
    fn another_reason_is_a_turn_of_the_same_trouble() {
        let mut broker = Broker::new();
        broker.refuses(1);
        let now = broker.instant(2);
        let turn = broker.encounters.failed("timeout", "timeout".into(), at(2), now);
        assert_eq!(turn, Some(Turn::Changed(REFUSED, trouble("timeout", 1, 2, 2, 0))));
    }

    #[test]
    fn devices_that_the_broker_let_go_just_before_belong_to_the_trouble() {
        let mut broker = Broker::new();
        for seconds in [1, 10, 40, 41] {
            broker.ends(seconds);
        }
        assert_eq!(broker.refuses(42), Some(Turn::Began(trouble(REFUSED, 42, 42, 1, 2))));
        broker.ends(43);
        assert_eq!(broker.encounters.connected(), Some(Turn::Over(trouble(REFUSED, 42, 42, 1, 3))));
        broker.ends(50);
        assert_eq!(broker.refuses(80), Some(Turn::Began(trouble(REFUSED, 80, 80, 1, 0))), "long before");
    }

    #[test]
    fn without_trouble_it_is_forgotten_soon() {
        let mut broker = Broker::new();
        assert!(broker.encounters.is_forgettable(broker.start));
        broker.ends(0);
        assert!(!broker.encounters.is_forgettable(broker.instant(29)));
        assert!(broker.encounters.is_forgettable(broker.instant(30)));
        broker.refuses(31);
        assert!(!broker.encounters.is_forgettable(broker.instant(1000)));
    }
}
