//! Which API a client command uses, and with which key.
//!
//! A flag goes before a variable. Of either, only one may give a key: the key itself, a file or a
//! login. Without any, the login `default` is used. The key of a login goes to its own URL alone.

mod client_environment;
mod key_choice;
mod key_file;

pub(crate) use self::{
    client_environment::ClientEnvironment,
    key_choice::{DirectKey, KeyChoice, halves},
};

use std::path::Path;

use anyhow::anyhow;
use reqwest::Url;
use zeroize::Zeroizing;

use crate::{
    api_key_pair::ApiKeyPair,
    base_url::base_url,
    cli::{ApiArgs, ConnectArgs},
    input,
    login::{Login, LoginName},
    usage::UsageError,
    wording::KeySource,
};

pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8080/public_api/v1";

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) base: Url,
    pub(crate) key: ApiKeyPair,
    pub(crate) key_source: KeySource,
    pub(crate) ca: Option<TrustedCa>,
}

/// The certificates that alone are trusted.
#[derive(Debug)]
pub(crate) struct TrustedCa {
    pub(crate) pem: Zeroizing<Vec<u8>>,
    /// What they were read from.
    pub(crate) name: String,
}

impl Connection {
    /// # Errors
    /// [`UsageError`] for what is missing, wrong or given twice; others for a login's file.
    pub(crate) fn resolve(connect: &ConnectArgs, environment: &ClientEnvironment) -> anyhow::Result<Self> {
        let choice = KeyChoice::of(&connect.api, connect.login.as_ref(), environment)?;
        match choice {
            Some(KeyChoice::Login { name, is_flag }) => {
                let login = environment.login_folder()?.read(&name)?.ok_or_else(|| {
                    UsageError::new(format!(
                        "there is no login {name}; `certward logins` lists them, `certward login --name {name}` makes it"
                    ))
                })?;
                Self::of_login(&name, login, is_flag, &connect.api, environment)
            }
            Some(KeyChoice::Given(key)) => Self::of_key(key, &connect.api, environment),
            None => match default_login(environment)? {
                Some(login) => {
                    Self::of_login(&LoginName::default_login(), login, false, &connect.api, environment)
                }
                None => Err(UsageError::new(
                    "no key is given; give --key-file FILE or CERTWARD_KEY_FILE, set CERTWARD_API_KEY and \
                     CERTWARD_SECRET_KEY, or run `certward login` (the first key was printed by `certward init`, \
                     `certward init --new-admin-key` makes another)",
                )
                .into()),
            },
        }
    }

    /// With a key that is no login's.
    pub(crate) fn of_key(
        key: DirectKey,
        api: &ApiArgs,
        environment: &ClientEnvironment,
    ) -> anyhow::Result<Self> {
        let (key, key_source) = key.read(api, environment)?;
        Ok(Self { key_source, ..Self::of_pair(key, api, environment)? })
    }

    /// With this key.
    pub(crate) fn of_pair(
        key: ApiKeyPair,
        api: &ApiArgs,
        environment: &ClientEnvironment,
    ) -> anyhow::Result<Self> {
        let url = api.url.as_deref().or(environment.url.as_deref()).unwrap_or(DEFAULT_URL);
        let ca = api.ca.as_deref().or(environment.ca_file.as_deref()).map(TrustedCa::read).transpose()?;
        Ok(Self { base: base_url(url)?, key, key_source: KeySource::Given, ca })
    }

    fn of_login(
        name: &LoginName,
        login: Login,
        is_flag: bool,
        api: &ApiArgs,
        environment: &ClientEnvironment,
    ) -> anyhow::Result<Self> {
        // A flag goes before a variable.
        let other = match (&api.url, &environment.url) {
            (Some(url), _) => Some(("--url", "leave --url out", url)),
            (None, Some(url)) if !is_flag => Some(("CERTWARD_URL", "unset CERTWARD_URL", url)),
            _ => None,
        };
        if let Some((by, remedy, url)) = other
            && !is_same(&base_url(url)?, &login.url)
        {
            return Err(UsageError::new(format!(
                "the login {name} is for {}, and {by} names another address, which is not sent its key; {remedy}, or \
                 give the key for that address (--key-file, --login)",
                login.url
            ))
            .into());
        }
        let ca = match (&api.ca, login.ca, &environment.ca_file) {
            (Some(path), ..) | (None, None, Some(path)) => Some(TrustedCa::read(path)?),
            (None, Some(pem), _) => Some(TrustedCa {
                pem: Zeroizing::new(pem.into_bytes()),
                name: format!("the CA of the login {name}"),
            }),
            (None, None, None) => None,
        };
        Ok(Self { base: login.url, key: login.key, key_source: KeySource::Login(name.clone()), ca })
    }
}

impl TrustedCa {
    pub(crate) fn read(path: &Path) -> Result<Self, UsageError> {
        Ok(Self { pem: input::read(path)?, name: input::name(path) })
    }
}

/// Where a user has no folder for logins, there is none.
fn default_login(environment: &ClientEnvironment) -> anyhow::Result<Option<Login>> {
    let Some(folder) = &environment.logins else { return Ok(None) };
    folder.read(&LoginName::default_login()).map_err(|error| anyhow!("no key is given, and {error}"))
}

/// A slash at the end makes no other base.
fn is_same(one: &Url, other: &Url) -> bool {
    one.as_str().trim_end_matches('/') == other.as_str().trim_end_matches('/')
}

#[cfg(test)]
mod tests;
