use time::OffsetDateTime;

use crate::{HostName, NoEntryPoint, Profile, TlsType};

/// What [`judge`](crate::judge) needs besides the upload.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// When to check validity.
    pub now: OffsetDateTime,
    /// The deployment's hosts; uncovered ones are a warning.
    pub hosts: &'a [HostName],
    /// Whether devices can reach the deployment; `Err` is a warning.
    pub entry_point: Result<(), NoEntryPoint>,
    /// The newest accepted upload, if one is set.
    pub replaces: Option<Replaced<'a>>,
    /// How strictly to judge.
    pub profile: Profile,
}

/// What the upload would replace.
#[derive(Debug, Clone, Copy)]
pub struct Replaced<'a> {
    /// The leaf, DER.
    pub leaf: &'a [u8],
    /// One-way or two-way.
    pub tls_type: TlsType,
    /// The client CAs, DER; none if one-way.
    pub client_cas: &'a [Vec<u8>],
}
