use std::time::Duration;

use thiserror::Error;

/// How long a session may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionAge(u32);

/// Out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it must be 0 (no limit), or a whole number of seconds from 10 to 31536000 (a year)")]
pub struct SessionAgeError;

impl SessionAge {
    /// In seconds.
    pub const MIN: u32 = 10;
    /// In seconds: a year.
    pub const MAX: u32 = 365 * 24 * 60 * 60;

    /// Reads seconds; `None` for 0: no limit.
    pub fn parse(seconds: i64) -> Result<Option<Self>, SessionAgeError> {
        match u32::try_from(seconds) {
            Ok(0) => Ok(None),
            Ok(seconds @ Self::MIN..=Self::MAX) => Ok(Some(Self(seconds))),
            _ => Err(SessionAgeError),
        }
    }

    /// In seconds; 0 for no limit.
    pub fn number(age: Option<Self>) -> i64 {
        age.map_or(0, |age| i64::from(age.0))
    }

    /// As a duration.
    pub fn get(self) -> Duration {
        Duration::from_secs(u64::from(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_of_seconds_up_to_a_year() {
        for (seconds, is_one) in [
            (0, true),
            (9, false),
            (10, true),
            (31_536_000, true),
            (31_536_001, false),
            (-10, false),
            (i64::MAX, false),
            (i64::from(u32::MAX) + 11, false),
        ] {
            let read = SessionAge::parse(seconds).map(SessionAge::number);
            assert_eq!(read, if is_one { Ok(seconds) } else { Err(SessionAgeError) }, "{seconds}");
        }
    }
}
