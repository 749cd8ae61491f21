use time::OffsetDateTime;

use crate::{HostName, NoWayIn, Profile};

/// What the judgement needs to know about the world beside the upload.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The time to judge validity by.
    pub now: OffsetDateTime,
    /// The hosts of the deployment; a host that the leaf's names do not cover is a warning.
    pub hosts: &'a [HostName],
    /// Whether a device can reach the deployment at all, by a host or a bound listener; if not, a
    /// warning says why.
    pub way_in: Result<(), NoWayIn>,
    /// The leaf that is set now (DER), if one is.
    pub replaces: Option<&'a [u8]>,
    /// How strictly to judge.
    pub profile: Profile,
}
