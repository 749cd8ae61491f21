use std::{
    fmt,
    fs::{File, Metadata, OpenOptions},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    NotOwn,
    engine::{
        new_file::write_new_file,
        own_file::{open_own_file, root_or_user},
    },
    sealed::random,
};

/// The 256-bit key that wraps every record's data key.
pub struct MasterKey(pub(crate) Zeroizing<[u8; 32]>);

/// Why there is no master key.
#[derive(Debug, Error)]
pub enum MasterKeyError {
    /// A file error.
    #[error("the master key file {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// Not 64 hexadecimal digits.
    #[error("the master key must be 64 hexadecimal digits")]
    Form,
    /// Another user's file; in the data folder also a link or not a regular file.
    #[error(
        "the master key file {0}; give it to the user that certward runs as (chown), and put a file in the place of a link"
    )]
    NotOwn(NotOwn),
    /// Others can read the file.
    #[error("the master key file {0} can be read by others: run chmod 600 on it")]
    TooOpen(String),
}

/// The bits of a mode that others must not have.
const OTHERS: u32 = 0o077;
const OTHERS_OF_CREDENTIAL: u32 = 0o037;
/// 64 digits and white space.
const FILE_BYTES_MAX: u64 = 1024;

impl MasterKey {
    /// Generates a key.
    pub fn generate() -> Self {
        Self(random::key())
    }

    /// Reads 64 hexadecimal digits, ignoring surrounding white space.
    ///
    /// # Errors
    /// [`MasterKeyError::Form`].
    pub fn parse(text: &str) -> Result<Self, MasterKeyError> {
        let digits = text.trim().as_bytes();
        let mut key = Zeroizing::new([0; 32]);
        if digits.len() != 2 * key.len() {
            return Err(MasterKeyError::Form);
        }
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(key))
    }

    /// Reads a configured file, which may be a link. Only its owner, root or the effective user,
    /// may have access.
    ///
    /// # Errors
    /// [`MasterKeyError`] names the file.
    pub fn read(path: &Path) -> Result<Self, MasterKeyError> {
        let file = File::open(path).map_err(|source| in_file(path, source))?;
        // Not the path, which could be replaced in between.
        let metadata = file.metadata().map_err(|source| in_file(path, source))?;
        root_or_user(path, &metadata)?;
        Self::read_from(path, file, &metadata, OTHERS)
    }

    /// As [`MasterKey::read`], for a credential of systemd, root's: its group may read it. For a
    /// service with a user of its own it has an ACL, whose mask shows as the mode of the group.
    pub fn read_credential(path: &Path) -> Result<Self, MasterKeyError> {
        let file = File::open(path).map_err(|source| in_file(path, source))?;
        let metadata = file.metadata().map_err(|source| in_file(path, source))?;
        root_or_user(path, &metadata)?;
        Self::read_from(path, file, &metadata, OTHERS_OF_CREDENTIAL)
    }

    /// As [`MasterKey::read`], for the data folder's file: not a link, and owned by the effective
    /// user.
    pub fn read_own(path: &Path) -> Result<Self, MasterKeyError> {
        let file = open_own_file(path, OpenOptions::new().read(true))?;
        let metadata = file.metadata().map_err(|source| in_file(path, source))?;
        Self::read_from(path, file, &metadata, OTHERS)
    }

    fn read_from(path: &Path, file: File, metadata: &Metadata, others: u32) -> Result<Self, MasterKeyError> {
        if metadata.permissions().mode() & others != 0 {
            return Err(MasterKeyError::TooOpen(path.display().to_string()));
        }
        // Full capacity: a growing buffer leaves copies.
        let mut text = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize + 1));
        file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(|source| in_file(path, source))?;
        Self::parse(std::str::from_utf8(&text).map_err(|_| MasterKeyError::Form)?)
    }

    /// Writes a new file durably, mode 0600. Never overwrites. A killed process leaves no file of
    /// this name, or a whole one.
    ///
    /// # Errors
    /// [`MasterKeyError::File`]; [`MasterKeyError::NotOwn`] for another user's unfinished file.
    pub fn write_new(&self, path: &Path) -> Result<(), MasterKeyError> {
        let mut text = Zeroizing::new(String::with_capacity(2 * self.0.len() + 1));
        random::push_hex(&mut text, self.0.as_slice());
        text.push('\n');
        Ok(write_new_file(path, text.as_bytes())?)
    }
}

fn digit(digit: u8) -> Result<u8, MasterKeyError> {
    let value = char::from(digit).to_digit(16).ok_or(MasterKeyError::Form)?;
    u8::try_from(value).map_err(|_| MasterKeyError::Form)
}

impl From<NotOwn> for MasterKeyError {
    fn from(error: NotOwn) -> Self {
        match error {
            NotOwn::System { path, source } => Self::File { path, source },
            error => Self::NotOwn(error),
        }
    }
}

fn in_file(path: &Path, source: std::io::Error) -> MasterKeyError {
    MasterKeyError::File { path: path.display().to_string(), source }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sixty_four_hexadecimal_digits_are_a_key() {
        let digits = "0123456789abcdefABCDEF0123456789".repeat(2);
        for text in [digits.clone(), format!(" {digits}\r\n"), format!("\n{digits}\t ")] {
            assert!(MasterKey::parse(&text).is_ok(), "{text:?}");
        }
        let (short, odd) = (&digits[1..], digits.replace('9', "g"));
        let wide = digits.replacen("01", "é", 1);
        let long = format!("{digits}00");
        let split = format!("{} {}", &digits[..32], &digits[32..]);
        for text in ["", " ", short, &odd, &wide, &long, &split, &format!("0x{}", &digits[2..])] {
            let error = MasterKey::parse(text).expect_err("no key");
            assert!(matches!(error, MasterKeyError::Form), "{text:?}");
            assert!(text.trim().is_empty() || !format!("{error} {error:?}").contains(text), "{error:?}");
        }
    }

    #[test]
    fn a_written_key_is_read_again_and_never_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("master.key");
        let key = MasterKey::generate();
        key.write_new(&path).expect("written");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(MasterKey::read(&path).expect("read").0, key.0);
        assert!(matches!(MasterKey::generate().write_new(&path), Err(MasterKeyError::File { .. })));
        assert_eq!(MasterKey::read(&path).expect("read").0, key.0, "the first is still there");
        let names: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").flatten().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("master.key");
        MasterKey::generate().write_new(&path).expect("written");
        for mode in [0o640, 0o604, 0o620, 0o601] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
            assert!(matches!(MasterKey::read(&path), Err(MasterKeyError::TooOpen(_))), "{mode:o}");
            let credential = MasterKey::read_credential(&path);
            assert_eq!(credential.is_ok(), mode == 0o640, "{mode:o}");
        }
        assert!(matches!(MasterKey::read(&folder.path().join("none")), Err(MasterKeyError::File { .. })));
    }
}
