use std::fmt;

use thiserror::Error;

/// A wrong configuration. Says where it stands, what is wrong and what is allowed; never shows a line of the file
/// and nothing of a URL, for they may hold a password.
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
        Self { origin, message: without_urls(message.into()) }
    }
}

/// A database's URL that was written where it does not belong would be shown as the wrong value that it is, with its password. What stands
/// behind `://` is left out, but for what our own sentences say of URLs.
fn without_urls(message: String) -> String {
    let is_ours = |rest: &str| rest.starts_with(' ') || rest.starts_with("USER:PASSWORD@");
    match message.match_indices("://").find(|(at, sign)| !is_ours(&message[at + sign.len()..])) {
        Some((at, _)) => format!("{}://…; the rest is not shown, for it may hold a password", &message[..at]),
        None => message,
    }
}

/// Where a value of the configuration stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// In the file; the line counts from 1, and is absent when the whole file is meant.
    File { path: String, line: Option<usize> },
    /// In this option of the command line.
    Option(&'static str),
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
            Self::Option(name) => f.write_str(name),
            Self::Variable(name) => write!(f, "the environment variable {name}"),
            Self::Default(key) => write!(f, "the default of {key}"),
        }
    }
}
