use std::process::ExitCode;

use super::login::LoginOutput;
use crate::{
    cli::LoginsArgs,
    connection::ClientEnvironment,
    login::{Login, LoginName},
    output,
    table::TextTable,
};

/// Exit code 1 if one cannot be read; the others are listed.
pub(super) fn run(args: &LoginsArgs) -> anyhow::Result<ExitCode> {
    let environment = ClientEnvironment::of_process()?;
    let folder = environment.login_folder()?;
    let (mut logins, mut is_complete) = (Vec::new(), true);
    for name in folder.names()? {
        match folder.read(&name) {
            Ok(Some(login)) => logins.push((name, login)),
            // Removed since.
            Ok(None) => {}
            Err(error) => {
                output::complain(&error);
                is_complete = false;
            }
        }
    }
    if args.json {
        output::say_json(&logins.iter().map(shown).collect::<Vec<_>>())?;
    } else if logins.is_empty() && is_complete {
        output::say("No logins. `certward login` makes one.")?;
    } else {
        let mut table = TextTable::new(["NAME", "URL", "API KEY"]);
        for LoginOutput { name, url, api_key } in logins.iter().map(shown) {
            table.row([name, url, api_key]);
        }
        output::say(&table.text())?;
    }
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn shown((name, login): &(LoginName, Login)) -> LoginOutput<'_> {
    LoginOutput { name: name.as_str(), url: login.url.as_str(), api_key: &login.key.api_key }
}
