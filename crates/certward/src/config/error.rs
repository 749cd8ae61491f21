use std::fmt;

use thiserror::Error;

/// A wrong configuration. Says where it stands, what is wrong and what is allowed; never shows a line of the file,
/// for the line may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{origin}: {message}")]
pub(crate) struct ConfigError {
    /// Where it stands.
    pub(crate) origin: Origin,
    /// What is wrong, and what is allowed.
    pub(crate) message: String,
}

impl ConfigError {
    pub(crate) fn new(origin: Origin, message: impl Into<String>) -> Self {
        Self { origin, message: message.into() }
    }
}

/// Where a value of the configuration stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// In the file; the line counts from 1, and is absent when the whole file is meant.
    File { path: String, line: Option<usize> },
    /// In an environment variable of this name.
    Variable(String),
    /// Nowhere: it is the default of this key.
    Default(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: Some(line) } => write!(f, "{path}, line {line}"),
            Self::File { path, line: None } => f.write_str(path),
            Self::Variable(name) => write!(f, "the environment variable {name}"),
            Self::Default(key) => write!(f, "the default of {key}"),
        }
    }
}
