use std::process::ExitCode;

use anyhow::bail;

use crate::{cli::LogoutArgs, connection::ClientEnvironment, output};

/// The API is not asked: what is stored is removed, whether the key is valid or not.
pub(super) fn run(args: &LogoutArgs) -> anyhow::Result<ExitCode> {
    let environment = ClientEnvironment::of_process()?;
    let name = &args.name;
    if !environment.login_folder()?.remove(name)? {
        bail!("there is no login {name}; `certward logins` lists them");
    }
    output::say(&format!(
        "Removed the login {name}. Its key is valid still: `certward key revoke KEY` ends it."
    ))?;
    Ok(ExitCode::SUCCESS)
}
