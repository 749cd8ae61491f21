use thiserror::Error;

/// What can go wrong with the store.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It cannot be reached, is locked, or has no room: nothing was changed, and a later try may succeed.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// A row holds what this program cannot read: damage, or a hand in the database.
    #[error("the store holds something unreadable: {0}")]
    Corrupt(String),
    /// A sealed record does not open: damaged, moved to another row, or sealed under another master key.
    #[error("a sealed record does not open: {0}")]
    Sealed(String),
    /// The master key is not the one this store was made with.
    #[error("the master key is not the one that this store was made with")]
    WrongMasterKey,
    /// `init` has not been run on it.
    #[error("the store is not initialised")]
    NotInitialised,
    /// Another process holds the data folder.
    #[error("another certward process uses the data folder {0}")]
    InUse(String),
    /// The store was made by a newer certward.
    #[error("the store was made by a newer certward (schema {0})")]
    TooNew(i64),
}
