use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The certificate and its chain, PEM
    pub(crate) cert: PathBuf,
    /// The certificate's private key, PEM
    pub(crate) key: PathBuf,
    /// The client CAs, PEM: judge as two-way
    #[arg(long, value_name = "FILE")]
    pub(crate) client_ca: Option<PathBuf>,
    /// A name that devices will ask for; may be repeated
    #[arg(long = "host", value_name = "NAME")]
    pub(crate) hosts: Vec<String>,
    /// How strictly to judge: default or emqx-cloud
    #[arg(long, value_name = "PROFILE", default_value = "default")]
    pub(crate) profile: String,
    /// A file with the passphrase of an encrypted key; one line break at its end is not part of it
    #[arg(long, value_name = "FILE")]
    pub(crate) key_password_file: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
