use std::process::ExitCode;

use anyhow::bail;

use crate::{
    cli::LogoutArgs,
    connection::ClientEnvironment,
    output::{self, plain},
};

/// The API is not asked: what is stored is removed, whether the key is valid or not.
pub(super) fn run(args: &LogoutArgs) -> anyhow::Result<ExitCode> {
    let environment = ClientEnvironment::of_process()?;
    let (name, folder) = (&args.name, environment.login_folder()?);
    // One that cannot be read is removed all the same.
    let login = folder.read(name).ok().flatten();
    let key = login.map_or_else(|| "KEY".to_owned(), |login| plain(&login.key.api_key));
    if !folder.remove(name)? {
        bail!("there is no login {name}; `certward logins` lists them");
    }
    output::say(&format!(
        "Removed the login {name}. Its key is still valid: `certward key revoke {key}` ends it."
    ))?;
    Ok(ExitCode::SUCCESS)
}
