use time::OffsetDateTime;

use crate::{HostName, NoEntryPoint, Profile};

/// What [`judge`](crate::judge) needs besides the upload.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// When to check validity.
    pub now: OffsetDateTime,
    /// The deployment's hosts; uncovered ones are a warning.
    pub hosts: &'a [HostName],
    /// Whether devices can reach the deployment; `Err` is a warning.
    pub entry_point: Result<(), NoEntryPoint>,
    /// The current leaf (DER).
    pub replaces: Option<&'a [u8]>,
    /// How strictly to judge.
    pub profile: Profile,
}
