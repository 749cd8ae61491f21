//! Files named by the operator; `-` is standard input.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use zeroize::Zeroizing;

use crate::usage::UsageError;

/// The API's limit of a body.
const FILE_BYTES_MAX: u64 = 256 * 1024;

const STDIN: &str = "-";

/// Without UTF-8 (DER, UTF-16) each byte becomes the character of its number, so that the judgement
/// can name the format.
///
/// # Errors
/// [`UsageError`] if the file cannot be read or is too large.
pub(crate) fn read_text(path: &Path) -> Result<Zeroizing<String>, UsageError> {
    let bytes = read(path)?;
    Ok(match std::str::from_utf8(&bytes) {
        Ok(text) => Zeroizing::new(text.to_owned()),
        Err(_) => {
            // At most two bytes per character.
            let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
            text.extend(bytes.iter().map(|&byte| char::from(byte)));
            text
        }
    })
}

/// Without one line break at its end.
pub(crate) fn read_password(path: &Path) -> Result<Zeroizing<String>, UsageError> {
    let mut text = read_text(path)?;
    let chars =
        text.strip_suffix('\n').map_or(text.len(), |line| line.strip_suffix('\r').unwrap_or(line).len());
    text.truncate(chars);
    Ok(text)
}

pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, UsageError> {
    read_up_to(path, FILE_BYTES_MAX)
}

/// As [`read`], with another limit: a multiple of 1024 bytes.
pub(crate) fn read_up_to(path: &Path, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, UsageError> {
    if is_stdin(path) { take_stdin(bytes_max) } else { read_bounded(open(path)?, path, bytes_max) }
}

/// As [`read`], for a secret: refuses a file that others can read.
pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, UsageError> {
    if is_stdin(path) {
        return take_stdin(FILE_BYTES_MAX);
    }
    let file = open(path)?;
    let mode = file.metadata().map_err(|error| unreadable(path, &error))?.permissions().mode();
    if mode & 0o077 != 0 {
        let path = path.display();
        return Err(UsageError::new(format!("{path} can be read by others: run chmod 600 {path}")));
    }
    read_bounded(file, path, FILE_BYTES_MAX)
}

/// As messages name it.
pub(crate) fn name(path: &Path) -> String {
    if is_stdin(path) { "standard input".to_owned() } else { path.display().to_string() }
}

pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == STDIN
}

/// A second file would find nothing.
fn take_stdin(bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, UsageError> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(UsageError::new(
            "standard input (-) is given for two files; only one can be read from it",
        ));
    }
    read_bounded(io::stdin().lock(), Path::new(STDIN), bytes_max)
}

fn open(path: &Path) -> Result<File, UsageError> {
    File::open(path).map_err(|error| unreadable(path, &error))
}

fn read_bounded(source: impl Read, path: &Path, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, UsageError> {
    // A growing buffer would leave copies of a key.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize + 1));
    source.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > bytes_max {
        let kib = bytes_max / 1024;
        return Err(UsageError::new(format!("{} is larger than {kib} KiB", name(path))));
    }
    Ok(bytes)
}

fn unreadable(path: &Path, error: &io::Error) -> UsageError {
    UsageError::new(format!("cannot read {}: {error}", name(path)))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn files_are_read_as_text_whatever_they_hold_and_up_to_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let cases: [(&[u8], &str); 3] =
            [(b"-----BEGIN", "-----BEGIN"), ("é".as_bytes(), "é"), (b"0\x82\x01", "0\u{82}\u{1}")];
        for (bytes, text) in cases {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(read_text(&path).unwrap().as_str(), text);
        }
        for (text, password) in
            [("a b", "a b"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" \n", " "), ("", "")]
        {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read_password(&path).unwrap().as_str(), password);
        }
        std::fs::write(&path, vec![b'a'; 256 * 1024]).unwrap();
        assert!(read(&path).is_ok());
        std::fs::write(&path, vec![b'a'; 256 * 1024 + 1]).unwrap();
        assert!(read(&path).unwrap_err().to_string().ends_with("is larger than 256 KiB"));
        assert!(read(&folder.path().join("none")).unwrap_err().to_string().contains("No such file"));
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.json");
        std::fs::write(&path, "secret").unwrap();
        for (mode, is_private) in
            [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o610, false)]
        {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            match read_private(&path) {
                Ok(bytes) => assert!(is_private && bytes.as_slice() == b"secret", "{mode:o}"),
                Err(error) => {
                    let remedy = format!("chmod 600 {}", path.display());
                    assert!(!is_private && error.to_string().ends_with(&remedy), "{error}");
                }
            }
        }
    }
}
