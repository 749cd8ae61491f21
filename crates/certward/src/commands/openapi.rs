use std::process::ExitCode;

use crate::output;

/// Prints the API's description.
pub(super) fn run() -> anyhow::Result<ExitCode> {
    output::say(&certward_api::openapi())?;
    Ok(ExitCode::SUCCESS)
}
