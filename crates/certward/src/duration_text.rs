//! Durations as people write them: `10s`, `60m`, `24h`, `7d`.

use std::{ops::RangeInclusive, time::Duration};

pub(crate) const SECOND: u64 = 1;
pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;

/// Reads `10s`, `60m`, `24h` or `7d`, whole numbers only.
///
/// # Errors
/// A sentence with the allowed range.
pub(crate) fn parse(text: &str, allowed: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let form = || {
        format!(
            "{text:?} is no duration; allowed is a whole number with s, m, h or d, for example 10s or 60m"
        )
    };
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(form)?;
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        "d" => DAY,
        _ => return Err(form()),
    };
    let number: u64 = number.parse().map_err(|_| form())?;
    let duration = Duration::from_secs(number.checked_mul(unit).ok_or_else(form)?);
    if allowed.contains(&duration) {
        return Ok(duration);
    }
    Err(format!(
        "{text:?} is outside what is allowed: {} to {}",
        show(*allowed.start()),
        show(*allowed.end())
    ))
}

/// The shortest text for [`parse`].
pub(crate) fn show(duration: Duration) -> String {
    let seconds = duration.as_secs();
    for (unit, name) in [(DAY, "d"), (HOUR, "h"), (MINUTE, "m")] {
        if seconds >= unit && seconds.is_multiple_of(unit) {
            return format!("{}{name}", seconds / unit);
        }
    }
    format!("{seconds}s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_numbers_with_a_unit() {
        let any = Duration::ZERO..=Duration::MAX;
        let cases = [
            ("10s", Some(10)),
            ("60m", Some(3_600)),
            ("24h", Some(86_400)),
            ("7d", Some(604_800)),
            ("0s", Some(0)),
            ("", None),
            ("10", None),
            ("s", None),
            ("-1s", None),
            ("1.5h", None),
            ("1 h", None),
            ("10S", None),
            ("1h30m", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None), // the number fits, the product does not
        ];
        for (text, seconds) in cases {
            assert_eq!(parse(text, &any).ok(), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn a_shown_duration_reads_as_itself() {
        let any = Duration::ZERO..=Duration::MAX;
        for seconds in [0, 1, 59, 60, 61, 3_600, 86_400, 86_401] {
            let duration = Duration::from_secs(seconds);
            assert_eq!(parse(&show(duration), &any), Ok(duration));
        }
    }
}
