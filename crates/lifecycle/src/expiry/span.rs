use std::time::Duration;

use certward_store::Timestamp;

/// A hundred years.
const HOURS_MAX: u64 = 36_500 * 24;

const UNITS: [(i64, &str); 3] = [(24 * 60 * 60, "day"), (60 * 60, "hour"), (60, "minute")];

/// Such as `in 41 days` or `3 hours ago`, rounded down.
pub fn relative(to: Timestamp, now: Timestamp) -> String {
    let left = to.0.saturating_sub(now.0);
    match left {
        1.. => format!("in {}", span(left)),
        -999..=0 => "just now".to_owned(),
        _ => format!("{} ago", span(left.saturating_neg())),
    }
}

/// Of milliseconds: in the largest unit that there are two of, or one exactly.
pub(crate) fn span(ms: i64) -> String {
    let seconds = ms / 1000;
    let unit = UNITS.into_iter().find(|(unit, _)| seconds >= 2 * unit || seconds == *unit);
    let (unit, name) = unit.unwrap_or((1, "second"));
    let count = seconds / unit;
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

/// Whole days or hours, such as `30d` or `12h`, up to a hundred years.
pub fn read_span(text: &str) -> Option<Duration> {
    let (hours, number) = match (text.strip_suffix('d'), text.strip_suffix('h')) {
        (Some(days), _) => (24, days),
        (None, Some(hours)) => (1, hours),
        (None, None) => return None,
    };
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let hours = number.parse::<u64>().ok().filter(|_| digits)?.checked_mul(hours)?;
    (hours <= HOURS_MAX).then(|| Duration::from_secs(hours * 60 * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_days_or_hours() {
        for (text, hours) in [
            ("30d", Some(720)),
            ("12h", Some(12)),
            ("0d", Some(0)),
            ("36500d", Some(876_000)),
            ("36501d", None),
            ("30", None),
            ("d", None),
            ("-1d", None),
            ("+1d", None),
            ("1.5d", None),
            ("99999999999999999999d", None),
            ("", None),
        ] {
            assert_eq!(read_span(text).map(|span| span.as_secs() / 3_600), hours, "{text}");
        }
    }

    #[test]
    fn times_are_shown_in_words() {
        let (minute, hour, day) = (60, 3_600, 86_400);
        for (seconds, text) in [
            (41 * day + hour, "in 41 days"),
            (2 * day, "in 2 days"),
            (2 * day - 1, "in 47 hours"),
            (day, "in 1 day"),
            (90 * minute, "in 90 minutes"),
            (minute, "in 1 minute"),
            (59, "in 59 seconds"),
            (1, "in 1 second"),
            (0, "just now"),
            (-3, "3 seconds ago"),
            (-3 * hour - 5, "3 hours ago"),
            (-400 * day, "400 days ago"),
        ] {
            assert_eq!(relative(Timestamp(1_000_000 + seconds * 1000), Timestamp(1_000_000)), text);
        }
    }
}
