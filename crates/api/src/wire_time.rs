use certward_store::Timestamp;
use time::{OffsetDateTime, UtcOffset, format_description::BorrowedFormatItem, macros::format_description};

const TO_THE_SECOND: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
const TO_THE_MINUTE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]");

/// `2034-05-22 02:43:21`, UTC, for `expire`.
pub(crate) fn to_the_second(time: OffsetDateTime) -> String {
    format(time, TO_THE_SECOND)
}

/// `2024-11-21 02:51`, UTC, for `createAt`.
pub(crate) fn to_the_minute(time: Timestamp) -> String {
    format(time.to_time(), TO_THE_MINUTE)
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
        let created = Timestamp::from_time(datetime!(2024-11-21 02:51:59 UTC));
        assert_eq!(to_the_minute(created), "2024-11-21 02:51");
    }
}
