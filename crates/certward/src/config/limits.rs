use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

/// `[limits]`: how many requests of one API key, deployment and method are admitted within any window, and how many deployments a
/// project may have.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LimitsSection {
    /// GET, `/check` and the neighbours, each on its own: 60; 1 to 1,000,000.
    #[serde(deserialize_with = "requests")]
    pub(crate) reads: u32,
    /// POST, PUT and DELETE, each on its own: 6; 1 to 1,000,000.
    #[serde(deserialize_with = "requests")]
    pub(crate) changes: u32,
    /// The window's length: `60m`; 1 s to 31 d.
    #[serde(deserialize_with = "super::duration::window")]
    pub(crate) window: Duration,
    /// How many deployments one project may have: 0, no limit; up to 1,000,000.
    #[serde(deserialize_with = "deployments")]
    pub(crate) deployments_per_project: u32,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self { reads: 60, changes: 6, window: Duration::from_secs(60 * 60), deployments_per_project: 0 }
    }
}

/// The log keeps a row for every admitted request, so that a million is the end of what one key should leave there.
const REQUESTS_MAX: i64 = 1_000_000;

fn requests<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    within(1, REQUESTS_MAX, from)
}

/// As many as a store is measured with (docs/scale.md).
const DEPLOYMENTS_MAX: i64 = 1_000_000;

fn deployments<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    within(0, DEPLOYMENTS_MAX, from)
}

fn within<'de, D: Deserializer<'de>>(min: i64, max: i64, from: D) -> Result<u32, D::Error> {
    let number = i64::deserialize(from)?;
    if (min..=max).contains(&number) {
        return u32::try_from(number).map_err(D::Error::custom);
    }
    Err(D::Error::custom(format!("{number} is outside what is allowed: {min} to {max}")))
}
