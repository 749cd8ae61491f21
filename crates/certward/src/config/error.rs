use std::fmt;

use thiserror::Error;

/// Place, error, allowed values. Never a line of the file or part of a URL, which may hold a
/// password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{origin}: {message}")]
pub(crate) struct ConfigError {
    pub(crate) origin: Origin,
    pub(crate) message: String,
}

impl ConfigError {
    pub(crate) fn new(origin: Origin, message: impl Into<String>) -> Self {
        Self { origin, message: without_urls(message.into()) }
    }
}

/// Hides text after `://`, except in our sentences: a misplaced database URL holds a password.
fn without_urls(message: String) -> String {
    let is_ours = |rest: &str| rest.starts_with(' ') || rest.starts_with("USER:PASSWORD@");
    match message.match_indices("://").find(|(at, sign)| !is_ours(&message[at + sign.len()..])) {
        Some((at, _)) => format!("{}://…; the rest is not shown, for it may hold a password", &message[..at]),
        None => message,
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The line counts from 1; absent for the whole file.
    File { path: String, line: Option<usize> },
    /// In this command line option.
    Option(&'static str),
    /// In this environment variable.
    Variable(String),
    /// The default of this key.
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
