use crate::Timestamp;

/// After which row the chain is stored: the newest pruned one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditCheckpoint {
    /// Of the newest pruned row, in the chain; so many were pruned.
    pub number: i64,
    /// When they were pruned.
    pub at: Timestamp,
    pub(crate) row_mac: Vec<u8>,
    pub(crate) row: i64,
    pub(crate) master_key: Vec<u8>,
}
