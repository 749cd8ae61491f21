use clap::{Args, Subcommand};

use super::{
    connect::ConnectArgs,
    key_end::{KeyEnd, parse_key_end},
};

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Create an API key; its secret is shown once
    #[command(visible_alias = "add")]
    #[command(after_help = "Example: certward key create --name renewals --scope tls --expires 90d")]
    Create {
        /// Its name, for people
        #[arg(long, value_name = "TEXT")]
        name: String,
        /// What it may do; may be repeated
        #[arg(long = "scope", value_name = "SCOPE", value_parser = ["tls", "tls:read", "deployments", "admin"], default_values = ["tls"])]
        scopes: Vec<String>,
        /// A project it sees; may be repeated; all when left out
        #[arg(long = "project", value_name = "ID")]
        projects: Vec<String>,
        /// When it ends: days or hours from now, a date (its first moment, UTC), or a time such as
        /// 2027-01-31T00:00:00Z; it does not end when left out
        #[arg(long, value_name = "90d|DATE|TIME", value_parser = parse_key_end)]
        expires: Option<KeyEnd>,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// List the API keys
    #[command(visible_alias = "ls")]
    #[command(after_help = "Example: certward key list")]
    List {
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Revoke an API key
    #[command(visible_aliases = ["rm", "delete", "remove"])]
    #[command(after_help = "Example: certward key revoke 7f3k9q2m5x8w1z4c")]
    Revoke {
        /// The API key
        key: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
}
