//! Where the master key is read from, and in a rekey the next one.

use std::{io::ErrorKind, path::PathBuf};

use certward_store::{MasterKey, MasterKeyError, MasterKeyRing};

use super::{Config, ConfigError, MasterKeyText, error::Origin, key};

/// systemd's credentials (`LoadCredential=`).
const CREDENTIAL: &str = "certward-master-key";
const NEXT_CREDENTIAL: &str = "certward-master-key-next";

/// In the data folder.
pub(crate) const FILE: &str = "master.key";
pub(crate) const NEXT_FILE: &str = "master.key.next";

/// The place of one master key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum MasterKeySource {
    /// The variable's name and value.
    Variable(&'static str, MasterKeyText),
    /// A configured file.
    File(PathBuf),
    /// A file that systemd has made for the service.
    Credential(PathBuf),
    /// The default, in the data folder.
    DataFolder(PathBuf),
}

impl MasterKeySource {
    /// For people.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Variable(name, _) => format!("the variable {name}"),
            Self::File(path) | Self::Credential(path) | Self::DataFolder(path) => path.display().to_string(),
        }
    }

    /// `None` for the default place and for credentials.
    pub(crate) fn is_configured(&self) -> bool {
        !matches!(self, Self::DataFolder(_))
    }

    fn read(&self) -> Result<MasterKey, ReadError> {
        match self {
            Self::Variable(name, text) => MasterKey::parse(text.expose()).map_err(|error| {
                ReadError::Variable(ConfigError::new(Origin::Variable((*name).into()), error.to_string()))
            }),
            Self::File(path) => Ok(MasterKey::read(path)?),
            Self::Credential(path) => Ok(MasterKey::read_credential(path)?),
            Self::DataFolder(path) => Ok(MasterKey::read_own(path)?),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Variable(ConfigError),
    #[error(transparent)]
    File(#[from] MasterKeyError),
}

impl ReadError {
    fn is_missing(&self) -> bool {
        matches!(self, Self::File(MasterKeyError::File { source, .. }) if source.kind() == ErrorKind::NotFound)
    }

    fn explain(self, source: &MasterKeySource) -> anyhow::Error {
        match self {
            Self::Variable(error) => error.into(),
            Self::File(error @ MasterKeyError::File { .. }) => {
                anyhow::anyhow!(
                    "{error}; bring it back, or give it by master_key_file or CERTWARD_MASTER_KEY"
                )
            }
            // The only one that does not name the file.
            Self::File(error @ MasterKeyError::Form) => anyhow::anyhow!("{}: {error}", source.place()),
            Self::File(error) => error.into(),
        }
    }
}

/// The places of both keys.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MasterKeySources {
    pub(crate) current: MasterKeySource,
    pub(crate) next: MasterKeySource,
}

/// The keys, as read.
#[derive(Debug)]
pub(crate) struct ReadMasterKeys {
    pub(crate) current: MasterKey,
    /// If there is one.
    pub(crate) next: Option<MasterKey>,
}

impl ReadMasterKeys {
    pub(crate) fn ring(&self) -> MasterKeyRing {
        MasterKeyRing::new(&self.current, self.next.as_ref())
    }
}

impl MasterKeySources {
    /// # Errors
    /// [`ConfigError`] for a bad variable, else [`MasterKeyError`]. A missing next key is none.
    pub(crate) fn read(&self) -> anyhow::Result<ReadMasterKeys> {
        // First: at the end of a rekey it is renamed to the current one.
        let next = match self.next.read() {
            Err(error) if error.is_missing() => None,
            next => Some(next.map_err(|error| error.explain(&self.next))?),
        };
        let current = self.current.read().map_err(|error| error.explain(&self.current))?;
        Ok(ReadMasterKeys { current, next })
    }
}

impl Config {
    pub(crate) fn master_key_sources(&self) -> MasterKeySources {
        MasterKeySources { current: self.master_key_source(), next: self.next_master_key_source() }
    }

    pub(crate) fn master_key_source(&self) -> MasterKeySource {
        let (text, file) = (&self.master_key, &self.master_key_file);
        self.source(key::MASTER_KEY, text.as_ref(), file.as_ref(), CREDENTIAL, FILE)
    }

    fn next_master_key_source(&self) -> MasterKeySource {
        let (text, file) = (&self.next_master_key, &self.master_key_next_file);
        self.source(key::NEXT_MASTER_KEY, text.as_ref(), file.as_ref(), NEXT_CREDENTIAL, NEXT_FILE)
    }

    /// A credential counts if it is there.
    fn source(
        &self,
        variable: &'static str,
        text: Option<&MasterKeyText>,
        file: Option<&PathBuf>,
        credential: &str,
        default: &str,
    ) -> MasterKeySource {
        if let Some(text) = text {
            return MasterKeySource::Variable(variable, text.clone());
        }
        if let Some(file) = file {
            return MasterKeySource::File(file.clone());
        }
        match self.credentials.as_ref().map(|folder| folder.join(credential)).filter(|path| path.exists()) {
            Some(path) => MasterKeySource::Credential(path),
            None => MasterKeySource::DataFolder(self.data_dir.join(default)),
        }
    }

    /// Where the master key is, for people.
    pub(crate) fn master_key_place(&self) -> String {
        self.master_key_source().place()
    }

    /// As [`MasterKeySources::read`].
    pub(crate) fn read_master_keys(&self) -> anyhow::Result<ReadMasterKeys> {
        self.master_key_sources().read()
    }
}
