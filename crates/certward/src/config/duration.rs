use std::{ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Deserializer, de::Error};

const SECOND: u64 = 1;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Reads `10s`, `60m`, `24h` or `7d`, whole numbers only.
///
/// # Errors
/// A sentence with the allowed range.
pub(super) fn parse(text: &str, allowed: &RangeInclusive<Duration>) -> Result<Duration, String> {
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
fn show(duration: Duration) -> String {
    let seconds = duration.as_secs();
    for (unit, name) in [(DAY, "d"), (HOUR, "h"), (MINUTE, "m")] {
        if seconds >= unit && seconds.is_multiple_of(unit) {
            return format!("{}{name}", seconds / unit);
        }
    }
    format!("{seconds}s")
}

/// An hour is longer than a node's absence or a program's polling.
pub(super) fn prove_within<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let allowed = Duration::from_secs(SECOND)..=Duration::from_secs(HOUR);
    parse(&String::deserialize(from)?, &allowed).map_err(D::Error::custom)
}

/// Narrow-band modems need some 15 s; five minutes at most, as an unfinished connection holds a
/// descriptor.
pub(super) fn device<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let allowed = Duration::from_secs(SECOND)..=Duration::from_secs(5 * MINUTE);
    parse(&String::deserialize(from)?, &allowed).map_err(D::Error::custom)
}

/// Beyond an hour a drain looks like a hang.
pub(super) fn drain<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let allowed = Duration::ZERO..=Duration::from_secs(HOUR);
    parse(&String::deserialize(from)?, &allowed).map_err(D::Error::custom)
}

/// Changes are read every second; below 10 s a slow database would close all two-way deployments.
pub(super) fn stale_trust<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    if text == "serve" {
        return Ok(None);
    }
    let allowed = Duration::from_secs(10 * SECOND)..=Duration::from_secs(31 * DAY);
    parse(&text, &allowed).map(Some).map_err(|fault| D::Error::custom(format!("{fault}; or \"serve\"")))
}

/// The request log has a row per request: a month at most.
pub(super) fn window<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let allowed = Duration::from_secs(SECOND)..=Duration::from_secs(31 * DAY);
    parse(&String::deserialize(from)?, &allowed).map_err(D::Error::custom)
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
