use std::time::Duration;

use certward_lifecycle::read_span;
use certward_store::Timestamp;
use time::{Date, OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

/// When an API key ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyEnd {
    In(Duration),
    At(Timestamp),
}

impl KeyEnd {
    pub(crate) fn at(&self, now: Timestamp) -> Timestamp {
        match self {
            Self::In(span) => now.after(*span),
            Self::At(end) => *end,
        }
    }
}

/// A date is its first moment in UTC.
pub(super) fn parse_key_end(text: &str) -> Result<KeyEnd, String> {
    if let Some(span) = read_span(text) {
        return Ok(KeyEnd::In(span));
    }
    let time = match Date::parse(text, format_description!("[year]-[month]-[day]")) {
        Ok(date) => Ok(date.midnight().assume_utc()),
        Err(_) => OffsetDateTime::parse(text, &Rfc3339),
    };
    time.map(|time| KeyEnd::At(Timestamp::from_time(time))).map_err(|_| {
        "give days or hours from now, a date, or a time with its zone, for example 90d, 2027-01-31 or \
         2027-01-31T00:00:00Z"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_key_ends_after_a_span_or_at_a_time() {
        let now = Timestamp::from_time(datetime!(2026-11-02 12:00:00 UTC));
        for (text, end) in [
            ("90d", datetime!(2027-01-31 12:00:00 UTC)),
            ("12h", datetime!(2026-11-03 00:00:00 UTC)),
            ("2027-01-31", datetime!(2027-01-31 00:00:00 UTC)),
            ("2027-01-31T00:00:00Z", datetime!(2027-01-31 00:00:00 UTC)),
            ("2027-01-31T02:00:00+02:00", datetime!(2027-01-31 00:00:00 UTC)),
        ] {
            assert_eq!(parse_key_end(text).unwrap().at(now), Timestamp::from_time(end), "{text}");
        }
        for text in ["", "soon", "2027-02-30", "2027-01-31 00:00:00", "2027-01-31T00:00:00", "1.5d"] {
            assert!(parse_key_end(text).unwrap_err().contains("90d"), "{text}");
        }
    }
}
