use crate::normal_name::normal_name;
use crate::short_hash::short_hash;
use crate::tbs::Tbs;

/// Identifies a CA by its name and key: a renewed certificate of it has the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorityId(pub [u8; 16]);

hexadecimal!(AuthorityId);

impl AuthorityId {
    /// Of a CA's certificate, DER; `None` if it is none.
    pub fn of(der: &[u8]) -> Option<Self> {
        let tbs = Tbs::read(der)?;
        let name = normal_name(tbs.subject).unwrap_or_else(|| tbs.subject.to_vec());
        Some(Self(short_hash([&name[..], tbs.spki])))
    }
}
