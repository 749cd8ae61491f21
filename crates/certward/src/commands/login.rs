//! Stores URL, key and CA of an API, once the API has accepted the key.

use std::process::ExitCode;

use anyhow::bail;
use serde::Serialize;

use crate::{
    api_key_pair::ApiKeyPair,
    base_url::base_url,
    cli::{ApiArgs, LoginArgs},
    client::Client,
    connection::{ClientEnvironment, Connection, DEFAULT_URL, DirectKey, KeyChoice, halves},
    login::Login,
    output::{self, plain},
    terminal,
    usage::UsageError,
    wording::KeySource,
};

/// Without the secret.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoginOutput<'a> {
    pub(super) name: &'a str,
    pub(super) url: &'a str,
    pub(super) api_key: &'a str,
}

pub(super) async fn run(args: LoginArgs) -> anyhow::Result<ExitCode> {
    let environment = ClientEnvironment::of_process()?.without_login();
    let folder = environment.login_folder()?;
    let connection = connection(args.api, &environment)?;
    let login = Login {
        url: connection.base.clone(),
        key: connection.key.clone(),
        ca: connection.ca.as_ref().map(|ca| certificates_alone(&ca.pem)),
    };
    // What a key of any scope may read; a wrong key is not stored.
    Client::of(connection)?.page(&["expiring"], "within=1d&limit=1").await?;
    folder.write(&args.name, &login)?;
    let (name, url, api_key) = (args.name.as_str(), login.url.as_str(), login.key.api_key.as_str());
    if args.json {
        output::say_json(&LoginOutput { name, url, api_key })?;
    } else {
        let used = match args.name.is_default() {
            true => "Commands use it where no other key is given".to_owned(),
            false => format!("Commands use it with --login {name} or CERTWARD_LOGIN={name}"),
        };
        output::say(&format!("Logged in to {url} with the API key {}. {used}.", plain(api_key)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A file may hold a private key too, or anything else.
fn certificates_alone(pem: &[u8]) -> String {
    let mut is_inside = false;
    let mut text = String::new();
    for line in String::from_utf8_lossy(pem).lines().map(str::trim) {
        is_inside |= line == "-----BEGIN CERTIFICATE-----";
        if is_inside {
            text.push_str(line);
            text.push('\n');
        }
        is_inside &= line != "-----END CERTIFICATE-----";
    }
    text
}

/// Asks for what is missing, where there is a person to ask.
fn connection(mut api: ApiArgs, environment: &ClientEnvironment) -> anyhow::Result<Connection> {
    let choice = KeyChoice::of(&api, None, environment)?;
    if terminal::is_attended() {
        if api.url.is_none() && !environment.has_url() {
            let url = terminal::ask(&format!("The API's URL [{DEFAULT_URL}]: "))?;
            let url = if url.is_empty() { DEFAULT_URL } else { url.as_str() };
            // Before a key is asked for.
            base_url(url)?;
            api.url = Some(url.to_owned());
        }
        if matches!(choice, None | Some(KeyChoice::Given(DirectKey::Pair))) {
            let key = ask_for_halves(&api, environment)?;
            let typed = Connection::of_pair(key, &api, environment)?;
            return Ok(Connection { key_source: KeySource::Typed, ..typed });
        }
    }
    match choice {
        Some(KeyChoice::Given(key)) => Connection::of_key(key, &api, environment),
        Some(KeyChoice::Login { .. }) | None => Err(UsageError::new(
            "no key is given; give --key-file FILE, with what `certward init` or `certward key create --json` printed",
        )
        .into()),
    }
}

fn ask_for_halves(api: &ApiArgs, environment: &ClientEnvironment) -> anyhow::Result<ApiKeyPair> {
    let (api_key, secret_key) = halves(api, environment);
    let api_key = match api_key {
        Some(api_key) => api_key,
        None => terminal::ask("API key: ")?.to_string(),
    };
    let secret_key = match secret_key {
        Some(secret_key) => secret_key,
        None => terminal::ask_secret("Secret key (not shown): ")?,
    };
    if api_key.is_empty() || secret_key.is_empty() {
        bail!("no key was given; nothing is stored");
    }
    Ok(ApiKeyPair { api_key, secret_key })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_has_the_certificates_of_a_file_and_nothing_else_of_it() {
        let block = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n";
        for (pem, kept) in [
            (block.to_owned(), block.to_owned()),
            (
                format!("{key}Bag Attributes\r\n{}{block}{key}\u{1}", block.replace('\n', "\r\n")),
                block.repeat(2),
            ),
            (key.to_owned(), String::new()),
        ] {
            assert_eq!(certificates_alone(pem.as_bytes()), kept, "{pem}");
        }
    }
}
