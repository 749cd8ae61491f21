use std::path::PathBuf;

use clap::Args;

#[derive(Args)]
pub(crate) struct ConnectArgs {
    /// The base of the API
    #[arg(
        long,
        value_name = "URL",
        env = "CERTWARD_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8080/public_api/v1"
    )]
    pub(crate) url: String,
    /// The API key
    #[arg(long, value_name = "KEY", env = "CERTWARD_API_KEY", hide_env_values = true)]
    pub(crate) api_key: Option<String>,
    /// Its secret key; the variable is better, for other users of the machine see the command line
    #[arg(long, value_name = "KEY", env = "CERTWARD_SECRET_KEY", hide_env_values = true)]
    pub(crate) secret_key: Option<String>,
    /// The CA of the API's certificate, PEM, where it is none that the system knows
    #[arg(long, value_name = "FILE", env = "CERTWARD_CA_FILE", hide_env_values = true)]
    pub(crate) ca: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// Without the secret and the URL, which may hold one.
impl std::fmt::Debug for ConnectArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectArgs").field("ca", &self.ca).field("json", &self.json).finish_non_exhaustive()
    }
}
