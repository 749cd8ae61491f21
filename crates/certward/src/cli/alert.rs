use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use super::connect::ConnectArgs;

#[derive(Debug, Args)]
pub(crate) struct AlertArgs {
    #[command(subcommand)]
    pub(crate) command: AlertCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AlertCommand {
    /// The channels: where alerts go, a webhook or mail
    Channel(AlertChannelArgs),
    /// Send a test message to a channel, now
    #[command(after_help = "Exit codes: 0 delivered, 1 not delivered, 2 wrong usage.\n\
                            Example: certward alert test 3kq7w2m9")]
    Test {
        /// The channel
        channel: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// List the newest 100 alerts, and whether they were delivered
    #[command(visible_alias = "ls")]
    #[command(after_help = "Example: certward alert list")]
    List {
        #[command(flatten)]
        connect: ConnectArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AlertChannelArgs {
    #[command(subcommand)]
    pub(crate) command: AlertChannelCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AlertChannelCommand {
    /// Add a channel; the secret of a webhook is shown once
    #[command(visible_alias = "create")]
    #[command(after_help = ADD_HELP)]
    Add(Box<AlertChannelAddArgs>),
    /// List the channels
    #[command(visible_alias = "ls")]
    #[command(after_help = "Example: certward alert channel list")]
    List {
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Remove a channel; alerts that wait for it are not sent
    #[command(visible_aliases = ["rm", "delete"])]
    #[command(after_help = "Example: certward alert channel remove 3kq7w2m9")]
    Remove {
        /// The channel
        channel: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
}

const ADD_HELP: &str = "Secrets are read from files: other users of the machine see the command line.\n\
    Examples:\n  certward alert channel add --webhook https://hooks.example.com/certward\n  \
    certward alert channel add --mail smtp.example.com --from certward@example.com --to ops@example.com \
    --username certward --password-file smtp-password";

#[derive(Args)]
#[command(group(ArgGroup::new("receiver").required(true).args(["webhook", "webhook_file", "mail"])))]
pub(crate) struct AlertChannelAddArgs {
    /// Post to this URL, signed as Standard Webhooks has it
    #[arg(long, value_name = "URL")]
    pub(crate) webhook: Option<String>,
    /// A file with that URL, where its path is a secret; one line break at its end is not part of
    /// it
    #[arg(long, value_name = "FILE")]
    pub(crate) webhook_file: Option<PathBuf>,
    /// A file with the webhook's secret: whsec_ and base64; chosen at random if left out
    #[arg(long, value_name = "FILE", conflicts_with = "mail")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Send mail by this server; without a port 587, with tls 465, with plain 25
    #[arg(long, value_name = "HOST[:PORT]", requires = "from", requires = "to")]
    pub(crate) mail: Option<String>,
    /// The sender's address
    #[arg(long, value_name = "ADDRESS", requires = "mail")]
    pub(crate) from: Option<String>,
    /// A receiver's address; up to 20, repeated or one after the other
    #[arg(long, value_name = "ADDRESS", num_args = 1.., requires = "mail")]
    pub(crate) to: Vec<String>,
    /// How the connection is protected; starttls when left out
    #[arg(long, value_name = "SECURITY", value_parser = ["tls", "starttls", "plain"], requires = "mail")]
    pub(crate) security: Option<String>,
    /// The user name at the mail server
    #[arg(long, value_name = "NAME", requires = "password_file", requires = "mail")]
    pub(crate) username: Option<String>,
    /// A file with its password; one line break at its end is not part of it
    #[arg(long, value_name = "FILE", requires = "username")]
    pub(crate) password_file: Option<PathBuf>,
    /// Its name, for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// The project whose alerts it receives; when left out those of all, and the operator's
    #[arg(long, value_name = "ID")]
    pub(crate) project: Option<String>,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// Without the URL, whose path may be a secret.
impl std::fmt::Debug for AlertChannelAddArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlertChannelAddArgs").field("name", &self.name).finish_non_exhaustive()
    }
}
