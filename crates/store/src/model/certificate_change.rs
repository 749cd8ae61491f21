/// What a change did to a deployment's certificate: SHA-256 of the leaf, 64 hexadecimal digits.
/// Both absent: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateChange {
    /// Of the newest upload before; `None`: none was set.
    pub before: Option<String>,
    /// Of the newest upload after; `None`: none is set.
    pub after: Option<String>,
}
