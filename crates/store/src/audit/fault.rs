use thiserror::Error;

use super::head::AuditHead;

/// What is wrong with the chain: the first fault found, from the oldest row on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuditFault {
    /// The record of what was pruned was not written by this store.
    #[error("the checkpoint, which says which rows were pruned, is not authentic")]
    Checkpoint,
    /// The row at this number is not there.
    #[error("row {0} is missing")]
    Missing(i64),
    /// A row of a number that was passed already.
    #[error("row {0} is there twice, or should have been pruned")]
    Inserted(i64),
    /// Its MAC is wrong.
    #[error("row {0} is not as it was written, or the row before it was replaced")]
    Changed(i64),
    /// Neither the master key nor a kept one.
    #[error("row {number} was written under another master key, of id {master_key}, which is not kept here")]
    UnknownKey {
        /// The row's.
        number: i64,
        /// Of the row's master key, in hexadecimal.
        master_key: String,
    },
    /// Less rows than there were.
    #[error("rows {} to {until} are missing: the end was cut off", .after + 1)]
    CutOff {
        /// The newest row that is there.
        after: i64,
        /// The newest known to have been there.
        until: i64,
    },
    /// The stored head is not that of the newest row.
    #[error("the stored head is not that of the newest row, {0}")]
    Head(i64),
    /// The row was another one when its head was noted.
    #[error("the row of the head {0} is another one now")]
    Rewritten(AuditHead),
    /// Rows without a MAC among those of the chain.
    #[error(
        "rows without a MAC are among those of the chain: {found}, of which {known} are known; the first is {first}"
    )]
    WithoutMac {
        /// How many there are.
        found: i64,
        /// How many the caller knows of.
        known: i64,
        /// The first one's action, subject and time.
        first: String,
    },
    /// More rows before the chain than its first row counted.
    #[error("rows without a MAC are before the chain: {found}, and it began after {counted}")]
    BeforeChain {
        /// How many there are.
        found: i64,
        /// How many there were.
        counted: i64,
    },
}
