use certward_store::Timestamp;
use time::{
    OffsetDateTime, PrimitiveDateTime, UtcOffset,
    format_description::{BorrowedFormatItem, well_known::Rfc3339},
    macros::format_description,
};

const TO_THE_SECOND: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
const TO_THE_DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
const TO_THE_MINUTE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]");

/// `2034-05-22 02:43:21`, UTC, for `expire`.
pub(crate) fn to_the_second(time: OffsetDateTime) -> String {
    format(time, TO_THE_SECOND)
}

/// `2024-11-21 02:51`, UTC, for `createAt`.
pub(crate) fn to_the_minute(time: Timestamp) -> String {
    format(time.to_time(), TO_THE_MINUTE)
}

/// `2034-05-22`, of a day since 1970, UTC.
pub(crate) fn day(day: i64) -> String {
    format(Timestamp(day.saturating_mul(24 * 60 * 60 * 1000)).to_time(), TO_THE_DAY)
}

/// Fractions of a second may have any number of digits.
const BYTES_MAX: usize = 64;

/// RFC 3339, or as [`to_the_second`] writes it.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    if text.len() > BYTES_MAX {
        return None;
    }
    let time = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| PrimitiveDateTime::parse(text, TO_THE_SECOND).map(PrimitiveDateTime::assume_utc));
    // Years beyond could not be written again.
    time.ok().filter(|time| (1970..=9999).contains(&time.year())).map(Timestamp::from_time)
}

fn format(time: OffsetDateTime, description: &[BorrowedFormatItem<'_>]) -> String {
    // Cannot fail for years 0 to 9999, the range of certificates.
    time.to_offset(UtcOffset::UTC).format(description).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        for (time, text) in [
            (datetime!(2034-05-22 02:43:21.999 UTC), "2034-05-22 02:43:21"),
            (datetime!(2034-05-22 02:43:21 +2), "2034-05-22 00:43:21"),
            (datetime!(9999-12-31 23:59:59 UTC), "9999-12-31 23:59:59"),
            (datetime!(0999-01-02 03:04:05 UTC), "0999-01-02 03:04:05"),
        ] {
            assert_eq!(to_the_second(time), text);
        }
        for text in ["2034-05-22 02:43:21", "2034-05-22T02:43:21Z", "2034-05-22T04:43:21+02:00"] {
            assert_eq!(parse(text), Some(Timestamp::from_time(datetime!(2034-05-22 02:43:21 UTC))), "{text}");
        }
        for text in
            ["", "2034-05-22", "2034-05-22 02:43", "1969-12-31T23:59:59Z", "90d", "2034-13-01 00:00:00"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        let created = Timestamp::from_time(datetime!(2024-11-21 02:51:59 UTC));
        assert_eq!(to_the_minute(created), "2024-11-21 02:51");
        assert_eq!((day(created.day()).as_str(), day(0).as_str()), ("2024-11-21", "1970-01-01"));
    }
}
