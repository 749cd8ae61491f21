use time::OffsetDateTime;

use crate::{HostName, NoEntryPoint, Profile};

/// What [`judge`](crate::judge) needs besides the upload.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The time to check validity at.
    pub now: OffsetDateTime,
    /// The deployment's hosts; uncovered ones are a warning.
    pub hosts: &'a [HostName],
    /// Whether devices can reach the deployment; if not, a warning says why.
    pub entry_point: Result<(), NoEntryPoint>,
    /// The current leaf (DER).
    pub replaces: Option<&'a [u8]>,
    /// How strictly to judge.
    pub profile: Profile,
}
