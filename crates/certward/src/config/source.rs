use std::{
    fs,
    io::{ErrorKind, Read},
    path::Path,
};

use certward_store::Role;

use super::{ConfigError, error::Origin};

/// Where the configuration comes from: gathered once, at the edge.
#[derive(Default)]
pub(crate) struct Source {
    /// The file's name, for errors, and its text.
    pub(crate) file: Option<(String, String)>,
    /// The environment variables, those of others too.
    pub(crate) variables: Vec<(String, String)>,
    /// What the command line says in `--role`, whatever stands elsewhere.
    pub(crate) role: Option<Role>,
}

/// A configuration is a page or two; what is larger is another file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The file that is read, if it is there, when none is named.
const DEFAULT_FILE: &str = "certward.toml";

impl Source {
    /// Reads the named file, or else `./certward.toml` if there is one.
    ///
    /// # Errors
    /// [`ConfigError`] when a named file is not there, or the file cannot be read.
    pub(crate) fn gather(
        named: Option<&Path>,
        variables: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    ) -> Result<Self, ConfigError> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        let file = match read(path) {
            Ok(text) => Some((path.display().to_string(), text)),
            Err(e) if named.is_none() && e.kind() == ErrorKind::NotFound => None,
            Err(e) => {
                let origin = Origin::File { path: path.display().to_string(), line: None };
                return Err(ConfigError::new(origin, format!("the configuration cannot be read: {e}")));
            }
        };
        let mut texts = Vec::new();
        for (name, value) in variables {
            // A name that is no text cannot be one of ours.
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => texts.push((name, value)),
                Err(_) if name.starts_with(super::key::PREFIX) => {
                    return Err(ConfigError::new(Origin::Variable(name), "its value is not UTF-8"));
                }
                Err(_) => {}
            }
        }
        Ok(Self { file, variables: texts, role: None })
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::new(ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(text)
}
