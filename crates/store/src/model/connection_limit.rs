use std::{fmt, num::NonZeroU32};

use thiserror::Error;

/// A deployment's connection limits, per node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConnectionLimits {
    /// Concurrent connections; `None`: no limit of its own.
    pub at_once: Option<ConnectionLimit>,
    /// New connections a second; `None`: no limit.
    pub per_second: Option<ConnectionLimit>,
}

/// A limit from 1 to [`ConnectionLimit::MAX`]. The API and the store write no limit as 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionLimit(NonZeroU32);

/// Out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it must be a whole number from 1 to 1000000, or 0 for no limit")]
pub struct ConnectionLimitError;

impl ConnectionLimit {
    /// The node-wide bound.
    pub const MAX: u32 = 1_000_000;

    /// Reads a number; 0 is no limit.
    pub fn parse(number: i64) -> Result<Option<Self>, ConnectionLimitError> {
        let number = u32::try_from(number).ok().filter(|number| *number <= Self::MAX);
        Ok(NonZeroU32::new(number.ok_or(ConnectionLimitError)?).map(Self))
    }

    /// The limit; never 0.
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// As stored: 0 without a limit.
    pub fn number(limit: Option<Self>) -> i64 {
        limit.map_or(0, |limit| i64::from(limit.get()))
    }
}

impl fmt::Display for ConnectionLimits {
    /// The audit's form: `connections 100 rate 0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at_once, per_second } = *self;
        write!(
            f,
            "connections {} rate {}",
            ConnectionLimit::number(at_once),
            ConnectionLimit::number(per_second)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_from_1_to_a_million_and_0_is_none() {
        for (number, read) in [
            (0, Ok(0)),
            (1, Ok(1)),
            (1_000_000, Ok(1_000_000)),
            (1_000_001, Err(ConnectionLimitError)),
            (-1, Err(ConnectionLimitError)),
            (i64::MAX, Err(ConnectionLimitError)),
            (i64::MIN, Err(ConnectionLimitError)),
        ] {
            assert_eq!(ConnectionLimit::parse(number).map(ConnectionLimit::number), read, "{number}");
        }
    }
}
