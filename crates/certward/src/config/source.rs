use std::{
    fs,
    io::{ErrorKind, Read},
    path::Path,
};

use certward_store::Role;

use super::{ConfigError, error::Origin};

#[derive(Default)]
pub(crate) struct ConfigSource {
    /// The file's name, for errors, and its text.
    pub(crate) file: Option<(String, String)>,
    /// All environment variables.
    pub(crate) variables: Vec<(String, String)>,
    /// `--role`, which overrides the others.
    pub(crate) role: Option<Role>,
}

/// Larger files are not a configuration.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

const DEFAULT_FILE: &str = "certward.toml";

impl ConfigSource {
    /// The named file, else `./certward.toml` if it exists.
    ///
    /// # Errors
    /// [`ConfigError`] for an unreadable file or a missing named one.
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
            // Our names are UTF-8.
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
