use std::{env, ffi::OsString, path::PathBuf};

use zeroize::Zeroizing;

use crate::{
    login::{LoginFolder, LoginName},
    usage::UsageError,
};

/// The variables of client commands, and the user's logins. An empty variable is as none.
#[derive(Default)]
pub(crate) struct ClientEnvironment {
    pub(super) url: Option<String>,
    pub(super) api_key: Option<String>,
    pub(super) secret_key: Option<Zeroizing<String>>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) login: Option<LoginName>,
    pub(super) logins: Option<LoginFolder>,
}

impl ClientEnvironment {
    /// # Errors
    /// [`UsageError`] names the variable.
    pub(crate) fn of_process() -> Result<Self, UsageError> {
        Self::of(|name| env::var_os(name), env::home_dir())
    }

    pub(super) fn of(
        variable: impl Fn(&str) -> Option<OsString>,
        home: Option<PathBuf>,
    ) -> Result<Self, UsageError> {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| {
            let value = given(name).map(OsString::into_string).transpose();
            value.map_err(|_| UsageError::new(format!("{name} is not UTF-8")))
        };
        let login = text("CERTWARD_LOGIN")?.map(|name| name.parse()).transpose();
        Ok(Self {
            url: text("CERTWARD_URL")?,
            api_key: text("CERTWARD_API_KEY")?,
            secret_key: text("CERTWARD_SECRET_KEY")?.map(Zeroizing::new),
            key_file: given("CERTWARD_KEY_FILE").map(PathBuf::from),
            ca_file: given("CERTWARD_CA_FILE").map(PathBuf::from),
            login: login.map_err(|rule| UsageError::new(format!("CERTWARD_LOGIN: {rule}")))?,
            logins: LoginFolder::of(given("XDG_CONFIG_HOME"), home),
        })
    }

    /// For `certward login`, which is not to use another.
    pub(crate) fn without_login(self) -> Self {
        Self { login: None, ..self }
    }

    pub(crate) fn has_url(&self) -> bool {
        self.url.is_some()
    }

    /// # Errors
    /// [`UsageError`] if the user has no home.
    pub(crate) fn login_folder(&self) -> Result<&LoginFolder, UsageError> {
        self.logins.as_ref().ok_or_else(|| {
            UsageError::new("there is no place for logins: set HOME, or XDG_CONFIG_HOME to an absolute path")
        })
    }
}

/// Without values.
impl std::fmt::Debug for ClientEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientEnvironment").field("logins", &self.logins).finish_non_exhaustive()
    }
}
