use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

/// `[limits]`: requests per API key, deployment and method in any window; deployments per project.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LimitsSection {
    /// GET, `/check` and other reads, each: 60; 1 to 1,000,000.
    #[serde(deserialize_with = "requests")]
    pub(crate) reads: u32,
    /// POST, PUT and DELETE, each: 6; 1 to 1,000,000.
    #[serde(deserialize_with = "requests")]
    pub(crate) changes: u32,
    /// Rollbacks, apart from the changes: 6; 1 to 1,000,000.
    #[serde(deserialize_with = "requests")]
    pub(crate) rollbacks: u32,
    /// Added and removed client CAs, apart from the changes: 30; 1 to 1,000,000.
    #[serde(deserialize_with = "requests")]
    pub(crate) client_cas: u32,
    /// Changes of the deny-list, and those of CRLs: 600; 1 to 1,000,000.
    #[serde(deserialize_with = "requests")]
    pub(crate) revocations: u32,
    /// The window's length: `60m`; 1 s to 31 d.
    #[serde(deserialize_with = "super::duration::window")]
    pub(crate) window: Duration,
    /// Deployments per project: 0, no limit; up to 1,000,000.
    #[serde(deserialize_with = "deployments")]
    pub(crate) deployments_per_project: u32,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            reads: 60,
            changes: 6,
            rollbacks: 6,
            client_cas: 30,
            revocations: 600,
            window: Duration::from_secs(60 * 60),
            deployments_per_project: 0,
        }
    }
}

/// The log has a row per admitted request.
const REQUESTS_MAX: i64 = 1_000_000;

fn requests<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    within(1, REQUESTS_MAX, from)
}

/// The most that a store is measured with (docs/scale.md).
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
