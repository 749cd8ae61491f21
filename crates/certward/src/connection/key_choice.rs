use std::path::PathBuf;

use zeroize::Zeroizing;

use super::{client_environment::ClientEnvironment, key_file};
use crate::{
    api_key_pair::ApiKeyPair, cli::ApiArgs, input, login::LoginName, usage::UsageError, wording::KeySource,
};

/// What gives the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyChoice {
    Given(DirectKey),
    Login { name: LoginName, is_flag: bool },
}

/// A key that is no login's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DirectKey {
    /// The key and its secret, each by its flag or its variable.
    Pair,
    File(PathBuf),
}

impl KeyChoice {
    /// By flags, else by variables. `None` if no key is given.
    ///
    /// # Errors
    /// [`UsageError`] if flags give two keys, or variables do.
    pub(crate) fn of(
        api: &ApiArgs,
        login: Option<&LoginName>,
        environment: &ClientEnvironment,
    ) -> Result<Option<Self>, UsageError> {
        let pair = |key: bool, secret: bool| (key || secret).then_some(Self::Given(DirectKey::Pair));
        let file = |path: &Option<PathBuf>| path.clone().map(|path| Self::Given(DirectKey::File(path)));
        let by_login =
            |name: Option<&LoginName>, is_flag| name.map(|name| Self::Login { name: name.clone(), is_flag });
        let flags = only_one([
            ("--api-key or --secret-key", pair(api.api_key.is_some(), api.secret_key.is_some())),
            ("--key-file", file(&api.key_file)),
            ("--login", by_login(login, true)),
        ])?;
        if flags.is_some() {
            return Ok(flags);
        }
        only_one([
            (
                "CERTWARD_API_KEY or CERTWARD_SECRET_KEY",
                pair(environment.api_key.is_some(), environment.secret_key.is_some()),
            ),
            ("CERTWARD_KEY_FILE", file(&environment.key_file)),
            ("CERTWARD_LOGIN", by_login(environment.login.as_ref(), false)),
        ])
    }
}

impl DirectKey {
    /// # Errors
    /// [`UsageError`] for a missing half, or a file that cannot be used.
    pub(super) fn read(
        self,
        api: &ApiArgs,
        environment: &ClientEnvironment,
    ) -> Result<(ApiKeyPair, KeySource), UsageError> {
        match self {
            Self::File(path) => Ok((key_file::read(&path)?, KeySource::File(input::name(&path)))),
            Self::Pair => Ok((pair(api, environment)?, KeySource::Given)),
        }
    }
}

fn only_one(choices: [(&str, Option<KeyChoice>); 3]) -> Result<Option<KeyChoice>, UsageError> {
    let mut given = choices.into_iter().filter_map(|(name, choice)| Some((name, choice?)));
    match (given.next(), given.next()) {
        (Some((one, _)), Some((other, _))) => {
            Err(UsageError::new(format!("{one} and {other} both give a key; give one of them")))
        }
        (found, _) => Ok(found.map(|(_, choice)| choice)),
    }
}

fn pair(api: &ApiArgs, environment: &ClientEnvironment) -> Result<ApiKeyPair, UsageError> {
    let missing = |flag: &str, variable: &str| {
        UsageError::new(format!(
            "no {flag} is given; set {variable} or --{flag} (the first one was printed by `certward init`, \
             `certward init --new-admin-key` makes another)"
        ))
    };
    let (api_key, secret_key) = halves(api, environment);
    Ok(ApiKeyPair {
        api_key: api_key.ok_or_else(|| missing("api-key", "CERTWARD_API_KEY"))?,
        secret_key: secret_key.ok_or_else(|| missing("secret-key", "CERTWARD_SECRET_KEY"))?,
    })
}

/// The key and its secret, as far as flags and variables give them.
pub(crate) fn halves(
    api: &ApiArgs,
    environment: &ClientEnvironment,
) -> (Option<String>, Option<Zeroizing<String>>) {
    let api_key = api.api_key.as_ref().or(environment.api_key.as_ref());
    let secret_key = api.secret_key.as_ref().or(environment.secret_key.as_deref());
    (
        api_key.filter(|key| !key.is_empty()).cloned(),
        secret_key.filter(|key| !key.is_empty()).cloned().map(Zeroizing::new),
    )
}
