use std::process::ExitCode;

use crate::output;

pub(super) fn run() -> anyhow::Result<ExitCode> {
    // `say` ends the line; the bytes are those of GET /openapi.json.
    output::say(certward_api::openapi().trim_end())?;
    Ok(ExitCode::SUCCESS)
}
