use std::path::Path;

use crate::{api_key_pair::ApiKeyPair, input, usage::UsageError};

/// # Errors
/// [`UsageError`] for a file that others can read, or that holds no key.
pub(super) fn read(path: &Path) -> Result<ApiKeyPair, UsageError> {
    let text = input::read_private(path)?;
    ApiKeyPair::parse(&text).ok_or_else(|| {
        UsageError::new(format!(
            "{} is no key file: it must hold {{\"apiKey\":\"…\",\"secretKey\":\"…\"}}, as `certward init` and \
             `certward key create --json` print it",
            input::name(path)
        ))
    })
}
