use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

use crate::duration_text::{DAY, HOUR, MINUTE, SECOND, parse};

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
