//! Times as the API writes them, `YYYY-MM-DD HH:MM:SS` in UTC, and in words.

use certward_lifecycle::relative;
use certward_store::Timestamp;
use time::{
    OffsetDateTime, PrimitiveDateTime, UtcOffset, format_description::BorrowedFormatItem,
    macros::format_description,
};

const TO_THE_SECOND: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let time = PrimitiveDateTime::parse(text, TO_THE_SECOND).ok()?;
    Some(Timestamp::from_time(time.assume_utc()))
}

pub(crate) fn show(time: OffsetDateTime) -> String {
    time.to_offset(UtcOffset::UTC).format(TO_THE_SECOND).unwrap_or_default()
}

/// Such as `in 41 days` or `expired 3 hours ago`; a text that is no time stays as it is.
pub(crate) fn ends_in_words(text: &str, now: Timestamp) -> String {
    match parse(text) {
        Some(end) if end > now => relative(end, now),
        Some(end) => format!("expired {}", relative(end, now)),
        None => text.to_owned(),
    }
}

/// Such as `2034-05-22 02:43:21 (in 41 days)`.
pub(crate) fn end_with_words(text: &str, now: Timestamp) -> String {
    match parse(text) {
        Some(_) => format!("{text} ({})", ends_in_words(text, now)),
        None => text.to_owned(),
    }
}

/// Such as `3 hours ago`; a text that is no time stays as it is.
pub(crate) fn ago(text: &str, now: Timestamp) -> String {
    // The server's clock may be ahead.
    parse(text).map_or_else(|| text.to_owned(), |at| relative(at.min(now), now))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn ends_are_told_in_words() {
        let now = Timestamp::from_time(datetime!(2034-04-11 02:43:20 UTC));
        for (text, words) in [
            ("2034-05-22 02:43:21", "in 41 days"),
            ("2034-04-11 02:43:20", "expired just now"),
            ("2034-04-10 23:43:19", "expired 3 hours ago"),
            ("some day", "some day"),
            ("", ""),
        ] {
            assert_eq!(ends_in_words(text, now), words);
        }
        assert_eq!(end_with_words("2034-05-22 02:43:21", now), "2034-05-22 02:43:21 (in 41 days)");
        assert_eq!(ago("2034-04-11 02:13:20", now), "30 minutes ago");
        assert_eq!(ago("2034-04-11 02:43:25", now), "just now");
    }

    #[test]
    fn a_time_is_read_as_it_is_written() {
        let time = datetime!(2034-05-22 02:43:21 UTC);
        assert_eq!(parse(&show(time)), Some(Timestamp::from_time(time)));
        for text in ["", "2034-05-22", "2034-05-22T02:43:21Z", "2034-13-22 02:43:21"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
