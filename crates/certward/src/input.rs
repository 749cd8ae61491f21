//! Files named by the operator.

use std::{fs::File, io::Read, path::Path};

use zeroize::Zeroizing;

use crate::usage::UsageError;

/// The API's limit of a body.
const FILE_BYTES_MAX: u64 = 256 * 1024;

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
    let wrong = |e: std::io::Error| UsageError::new(format!("cannot read {}: {e}", path.display()));
    // A growing buffer would leave copies of a key.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize + 1));
    File::open(path).map_err(wrong)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(wrong)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(UsageError::new(format!("{} is larger than 256 KiB", path.display())));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
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
}
