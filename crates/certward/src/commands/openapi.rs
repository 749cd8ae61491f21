use std::process::ExitCode;

use crate::output;

pub(super) fn run() -> anyhow::Result<ExitCode> {
    output::say(&certward_api::openapi())?;
    Ok(ExitCode::SUCCESS)
}
