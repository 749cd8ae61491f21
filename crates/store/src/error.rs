use thiserror::Error;

use crate::{MasterKeyId, NotOwn, Timestamp};

/// An error of the store.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Unreachable, locked or full; a retry may succeed. Nothing was changed, unless PostgreSQL's
    /// answer to the commit was lost.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// An unreadable row: damaged, or edited by hand.
    #[error("the store holds something unreadable: {0}")]
    Corrupt(String),
    /// A sealed record is damaged, moved to another row, or sealed under another master key.
    #[error("a sealed record does not open: {0}")]
    Sealed(String),
    /// Another master key than the store's.
    #[error("the master key is not the one that this store was made with")]
    WrongMasterKey,
    /// A master key that a rekey has replaced.
    #[error("the master key {held} was replaced by {wanted} on {} (certward rekey)", .at.to_time().date())]
    MasterKeyReplaced {
        /// The given one.
        held: MasterKeyId,
        /// The store's.
        wanted: MasterKeyId,
        /// When it was replaced.
        at: Timestamp,
    },
    /// A rekey is under way, and the key before is missing.
    #[error(
        "a rekey is under way, and records of the store are still sealed under the master key before, {0}"
    )]
    RekeyNeedsKey(MasterKeyId),
    /// A copy would hold records of two master keys.
    #[error("a rekey is under way: the store has records of two master keys")]
    RekeyUnderWay,
    /// `init` has not been run.
    #[error("the store is not initialised")]
    NotInitialised,
    /// Another process holds the data folder.
    #[error("another certward process uses the data folder {0}")]
    InUse(String),
    /// The data folder, or a file in it, has another owner or is a link.
    #[error(transparent)]
    NotOwn(NotOwn),
    /// Only read, and last used by an older certward.
    #[error("the store was last used by an older certward (schema {0})")]
    TooOld(i64),
    /// Made by a newer certward.
    #[error("the store was made by a newer certward (schema {0})")]
    TooNew(i64),
}

impl StoreError {
    pub(crate) fn unavailable(what: impl Into<String>) -> Self {
        Self::Unavailable(what.into())
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt(what.into())
    }
}

impl From<NotOwn> for StoreError {
    fn from(error: NotOwn) -> Self {
        match error {
            NotOwn::System { .. } => Self::Unavailable(error.to_string()),
            error => Self::NotOwn(error),
        }
    }
}

/// Drops what may be secret: the address (password) and row values (in decoding errors).
impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => from_database(error.as_ref()),
            sqlx::Error::Io(error) => Self::Unavailable(error.to_string()),
            sqlx::Error::PoolTimedOut => Self::unavailable("no connection to it in time"),
            sqlx::Error::PoolClosed => Self::unavailable("it has been closed"),
            sqlx::Error::Tls(_) => Self::unavailable("the TLS handshake with the database failed"),
            sqlx::Error::Configuration(_) => Self::unavailable("its address is not understood"),
            sqlx::Error::ColumnDecode { index, .. } => Self::Corrupt(format!("column {index}")),
            sqlx::Error::ColumnNotFound(index) => Self::Corrupt(format!("no column {index}")),
            sqlx::Error::Decode(_) | sqlx::Error::AnyDriverError(_) | sqlx::Error::TypeNotFound { .. } => {
                Self::corrupt("a column of another type")
            }
            sqlx::Error::RowNotFound => Self::corrupt("a row that must be there is missing"),
            // The connection is lost, the store may not be.
            _ => Self::unavailable("the connection to it was lost"),
        }
    }
}

/// SQLite's primary codes for damaged files and non-databases.
const SQLITE_DAMAGED: [i32; 2] = [11, 26];

fn from_database(error: &(dyn sqlx::error::DatabaseError + 'static)) -> StoreError {
    if error.is_unique_violation() || error.is_foreign_key_violation() {
        return StoreError::unavailable("another change came between; try again");
    }
    let code = error.code().unwrap_or_default();
    // SQLite's extended codes are decimal with the primary code in the low byte.
    let damaged = match code.parse::<i32>() {
        Ok(number) if code.len() < 5 => SQLITE_DAMAGED.contains(&(number & 0xff)),
        // Data corrupted, index corrupted.
        _ => code == "XX001" || code == "XX002",
    };
    let text = format!("{} (code {code})", error.message());
    if damaged { StoreError::Corrupt(text) } else { StoreError::Unavailable(text) }
}
