use std::path::PathBuf;

use clap::Args;

use crate::login::LoginName;

/// Of the flags in help.
const HEADING: &str = "Connection";

/// Which API, and with which key. Debug output has no secret and no URL, which may hold one.
///
/// The variables are not clap's: what is given by them would stand in its usage as if required.
#[derive(Clone, Args)]
pub(crate) struct ApiArgs {
    /// The base of the API [variable: CERTWARD_URL] [default: http://127.0.0.1:8080/public_api/v1]
    #[arg(long, value_name = "URL", help_heading = HEADING)]
    pub(crate) url: Option<String>,
    /// The API key [variable: CERTWARD_API_KEY]
    #[arg(long, value_name = "KEY", help_heading = HEADING)]
    pub(crate) api_key: Option<String>,
    /// Its secret key; a variable, file or login is safer: other users of the machine can see
    /// command lines [variable: CERTWARD_SECRET_KEY]
    #[arg(long, value_name = "KEY", help_heading = HEADING)]
    pub(crate) secret_key: Option<String>,
    /// A file with both, as `certward init` and `certward key create --json` print them
    /// [variable: CERTWARD_KEY_FILE]
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub(crate) key_file: Option<PathBuf>,
    /// The CA of the API's certificate, PEM, where it is none that the system knows
    /// [variable: CERTWARD_CA_FILE]
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub(crate) ca: Option<PathBuf>,
}

impl std::fmt::Debug for ApiArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiArgs")
            .field("key_file", &self.key_file)
            .field("ca", &self.ca)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ConnectArgs {
    #[command(flatten)]
    pub(crate) api: ApiArgs,
    /// Address and key of this login, see `certward login` [variable: CERTWARD_LOGIN] [default:
    /// the login default, if there is one and no key is given]
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    pub(crate) login: Option<LoginName>,
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}
