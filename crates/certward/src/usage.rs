use std::process::ExitCode;

use thiserror::Error;

use crate::config::ConfigError;

/// Wrong usage: exit code 2.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

impl UsageError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// 2 for wrong usage or configuration, else 1.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    let is_wrong_usage = error.is::<ConfigError>() || error.is::<UsageError>();
    ExitCode::from(if is_wrong_usage { 2 } else { 1 })
}
