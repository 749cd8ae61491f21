use crate::Timestamp;

/// What is noted of a change, in the transaction of that change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// The API key that asked, or `certward` for the program itself.
    pub actor: String,
    /// What was done, for example `tls.replace`, `deployment.create`, `key.revoke`.
    pub action: &'static str,
    /// What it was done to: an id.
    pub subject: String,
    /// Facts worth keeping, in one line; never secret.
    pub detail: String,
}

/// An audit entry as it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number, growing.
    pub number: i64,
    /// When it was done.
    pub at: Timestamp,
    /// See [`AuditEntry::actor`].
    pub actor: String,
    /// See [`AuditEntry::action`].
    pub action: String,
    /// See [`AuditEntry::subject`].
    pub subject: String,
    /// See [`AuditEntry::detail`].
    pub detail: String,
}
