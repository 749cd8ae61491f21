use std::{fmt, path::Path};

use thiserror::Error;
use zeroize::Zeroizing;

/// The 256-bit key that wraps every record's data key.
pub struct MasterKey(pub(crate) Zeroizing<[u8; 32]>);

/// Why there is no master key.
#[derive(Debug, Error)]
pub enum MasterKeyError {
    /// The file cannot be read or written.
    #[error("the master key file {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not 64 hexadecimal digits.
    #[error("the master key must be 64 hexadecimal digits")]
    Form,
    /// Others than its owner can read the file.
    #[error("the master key file {0} can be read by others: run chmod 600 on it")]
    TooOpen(String),
}

impl MasterKey {
    /// Draws a new one.
    pub fn generate() -> Self {
        todo!("store")
    }

    /// Reads 64 hexadecimal digits, white space around them ignored.
    ///
    /// # Errors
    /// [`MasterKeyError::Form`].
    pub fn parse(_text: &str) -> Result<Self, MasterKeyError> {
        todo!("store")
    }

    /// Reads the file, which only its owner may read.
    ///
    /// # Errors
    /// [`MasterKeyError`] names the file and the cause.
    pub fn read(_path: &Path) -> Result<Self, MasterKeyError> {
        todo!("store")
    }

    /// Writes a new file with mode 0600, durable when this returns; an existing one is never overwritten.
    ///
    /// # Errors
    /// [`MasterKeyError::File`].
    pub fn write_new(&self, _path: &Path) -> Result<(), MasterKeyError> {
        todo!("store")
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(redacted)")
    }
}
