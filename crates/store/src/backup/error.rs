use std::{io, path::Path};

use thiserror::Error;

use crate::{MasterKeyError, NotOwn, StoreError};

/// Why no backup was written, or nothing was restored.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The store that is copied, or the data folder that is restored to.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The backup, or its folder.
    #[error("the backup {path}: {source}")]
    File {
        /// The path.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// A file of this name exists. It is never overwritten.
    #[error("{0} exists already")]
    Exists(String),
    /// Another process writes this backup.
    #[error("another process writes {0}")]
    InProgress(String),
    /// The unfinished backup is a link, or another user's.
    #[error(transparent)]
    NotOwn(NotOwn),
    /// No digest at the end, or another one: cut short, changed, or another kind of file.
    #[error("{path} is no whole backup: {what}")]
    NotWhole {
        /// The path.
        path: String,
        /// What is wrong.
        what: &'static str,
    },
    /// Written by a newer certward.
    #[error("the backup was written by a newer certward (format {0})")]
    Format(u64),
    /// Sealed under another master key.
    #[error("the master key {given} is not the one of the backup, {wanted}")]
    OtherMasterKey {
        /// The id of the backup's master key.
        wanted: String,
        /// The id of the given one.
        given: String,
    },
    /// The data folder's own master key.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// The data folder holds other files.
    #[error("the data folder {folder} is not empty: it holds {found}")]
    NotEmpty {
        /// The folder.
        folder: String,
        /// Some names of what it holds.
        found: String,
    },
}

impl BackupError {
    pub(crate) fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.display().to_string(), source }
    }

    pub(crate) fn not_whole(path: &Path, what: &'static str) -> Self {
        Self::NotWhole { path: path.display().to_string(), what }
    }
}

impl From<NotOwn> for BackupError {
    fn from(error: NotOwn) -> Self {
        match error {
            NotOwn::System { path, source } => Self::File { path, source },
            error => Self::NotOwn(error),
        }
    }
}
