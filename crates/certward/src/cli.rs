//! The command line for clap; `commands` runs it.

mod alert;
mod audit;
mod completions;
mod config_args;
mod connect;
mod expiring;
mod key_end;
mod man_pages;
mod time_span;

use std::path::PathBuf;

use certward_store::{NodeId, Role};
use clap::{ArgGroup, Args, Id, Parser, Subcommand};
use serde::Serialize;

use self::key_end::parse_key_end;
pub(crate) use self::{
    alert::{AlertArgs, AlertChannelAddArgs, AlertChannelCommand, AlertCommand},
    audit::{AuditArgs, AuditCommand, AuditListArgs, AuditVerifyArgs},
    completions::CompletionsArgs,
    config_args::ConfigArgs,
    connect::ConnectArgs,
    expiring::ExpiringArgs,
    key_end::KeyEnd,
    man_pages::ManPagesArgs,
};
use crate::config::parse_role;

/// TLS certificates of MQTT deployments: an HTTP API to set them, a gateway that serves them.
#[derive(Debug, Parser)]
#[command(name = "certward", version, propagate_version = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run certward: the API and the gateway, or one of the two
    #[command(
        after_help = "SIGTERM and SIGINT drain and end it; SIGHUP re-reads the API's certificate, the log level and the places of the master keys."
    )]
    Serve(ServeArgs),
    /// Make the store, the master key and the first admin key
    Init(InitArgs),
    /// Copy the embedded store to an empty PostgreSQL database
    #[command(name = "migrate-store")]
    #[command(
        after_help = "Stop certward first. Then set store in the configuration, and start certward again."
    )]
    MigrateStore(MigrateStoreArgs),
    /// Copy the embedded store to one file, also while certward runs
    #[command(after_help = "The master key is not in it: keep that apart.\n\
                            Example: certward backup /var/backups/certward-$(date +%F).db")]
    Backup(BackupArgs),
    /// Make the embedded store from a backup, in an empty data folder
    #[command(after_help = "Example: certward restore /var/backups/certward-2027-01-31.db")]
    Restore(RestoreArgs),
    /// Change the master key while certward serves; run again, it continues one that was ended
    #[command(after_help = "With several nodes, each is given the new key first; docs/rekey.md.\n\
                            Exit codes: 0 done, 1 not yet, 2 wrong usage.\n\
                            Example: certward rekey")]
    Rekey(RekeyArgs),
    /// Judge a certificate, its key and client CAs, without a server
    #[command(after_help = "Exit codes: 0 no error, 1 errors, 2 wrong usage.")]
    Check(CheckArgs),
    /// Look for faults of this node and its deployments, and say what fixes each
    #[command(after_help = "It changes nothing, and runs beside certward or without it, as the same user.\n\
                            Exit codes: 0 no error, 1 errors, 2 wrong usage.\n\
                            Example: certward doctor --config /etc/certward/certward.toml")]
    Doctor(DoctorArgs),
    /// Projects: deployments that belong together
    Project(ProjectArgs),
    /// Deployments: one broker and the hosts that lead to it
    Deployment(DeploymentArgs),
    /// The certificate of a deployment
    Tls(TlsArgs),
    /// API keys
    Key(KeyArgs),
    /// All deployments, those that need attention first
    #[command(after_help = "Exit codes: 0 it could be read, whatever it says; 1 failed, 2 wrong usage.\n\
                            Example: certward status")]
    Status(ConnectArgs),
    /// What ends soon or has expired: certificates, client CAs, API keys
    #[command(after_help = "Example: certward expiring --within 90d")]
    Expiring(ExpiringArgs),
    /// Alerts about what ends, and the channels they go to
    Alert(AlertArgs),
    /// The audit: who changed what, what was refused, and whether a row was changed or removed
    Audit(AuditArgs),
    /// The nodes: what each does, and how many changes wait for it
    Nodes(ConnectArgs),
    /// Print the OpenAPI 3.1 document of the API
    Openapi,
    /// Print the completions of the command line for a shell
    #[command(after_help = "Example: certward completions bash > /etc/bash_completion.d/certward")]
    Completions(CompletionsArgs),
    /// Write the man pages, one for each command, to a folder
    #[command(name = "man-pages")]
    #[command(after_help = "Example: certward man-pages /usr/local/share/man/man1")]
    ManPages(ManPagesArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Take the place of the certward that serves from the same data folder, without refusing a
    /// connection; the same as without where none serves
    #[arg(long)]
    pub(crate) takeover: bool,
    /// What this node does: all, api or gateway; without it what the configuration says
    #[arg(long, value_name = "ROLE", value_parser = parse_role)]
    pub(crate) role: Option<Role>,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Accepted for programs; the key is one JSON object on stdout in any case
    #[arg(long)]
    pub(crate) json: bool,
    /// Make another admin key in a store that is there already, for who lost theirs
    #[arg(long)]
    pub(crate) new_admin_key: bool,
}

#[derive(Args)]
pub(crate) struct MigrateStoreArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The database, postgres://…; store of the configuration when left out. With a password in it
    /// the variable or the file is better, for other users of the machine see the command line
    #[arg(long, value_name = "URL", env = "CERTWARD_MIGRATE_TO", hide_env_values = true)]
    pub(crate) to: Option<String>,
    /// A file with that URL; one line break at its end is not part of it
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    pub(crate) to_file: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Without the URL, which may hold a password.
impl std::fmt::Debug for MigrateStoreArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MigrateStoreArgs").field("config", &self.config).finish_non_exhaustive()
    }
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The file to make; one that exists is not overwritten
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The master key, to be copied to master.key in the data folder; where the configuration gives
    /// it, or it is there already, leave this out
    #[arg(long, value_name = "FILE")]
    pub(crate) master_key: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Look at this deployment alone, and at what keeps it from being looked at
    #[arg(long, value_name = "ID")]
    pub(crate) deployment: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RekeyArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The new master key, 64 hexadecimal digits, to be copied to master.key.next; without it and
    /// without that file one is made
    #[arg(long, value_name = "FILE")]
    pub(crate) new_key_file: Option<PathBuf>,
    /// Do not wait for this node, which is lost; may be repeated
    #[arg(long, value_name = "NODE", value_parser = parse_node)]
    pub(crate) without: Vec<NodeId>,
    /// How many seconds to wait for the nodes
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub(crate) wait: u64,
    /// Change nothing: say how far it is, and which nodes lack a key
    #[arg(long, conflicts_with_all = ["new_key_file", "without", "wait"])]
    pub(crate) status: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_node(text: &str) -> Result<NodeId, String> {
    NodeId::parse(text).map_err(|rule| format!("it is no id of a node: {rule}"))
}

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

#[derive(Debug, Args)]
pub(crate) struct ProjectArgs {
    #[command(subcommand)]
    pub(crate) command: ProjectCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProjectCommand {
    /// Add a project
    Add {
        /// Its id: 1 to 63 of a-z, 0-9 and -
        id: String,
        /// Its name, for people
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Change a project; what is not named stays
    #[command(group(ArgGroup::new("change").required(true).multiple(true)
        .args(["name", "description", "upstream_allow", "no_upstream_allow", "host_suffixes", "no_host_suffixes"])))]
    Set {
        /// Its id
        id: String,
        /// Its name, for people
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// What it is, for people
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// Where its deployments may relay to: a network, an address, or a name or address with a
        /// port; repeated: the whole list
        #[arg(long, value_name = "NETWORK|HOST:PORT")]
        upstream_allow: Vec<String>,
        /// Let its deployments relay wherever the nodes may
        #[arg(long, conflicts_with = "upstream_allow")]
        no_upstream_allow: bool,
        /// A name that it alone may claim, with all names under it, and none else; repeated: the
        /// whole list
        #[arg(long = "host-suffix", value_name = "NAME")]
        host_suffixes: Vec<String>,
        /// Let it claim any name that no project has
        #[arg(long, conflicts_with = "host_suffixes")]
        no_host_suffixes: bool,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Show a project
    Show {
        /// Its id
        id: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// List the projects
    List {
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Remove a project that has no deployments
    Remove {
        /// Its id
        id: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DeploymentArgs {
    #[command(subcommand)]
    pub(crate) command: DeploymentCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeploymentCommand {
    /// Add a deployment
    Add {
        /// Its id: 1 to 63 of a-z, 0-9 and -; drawn when left out
        id: Option<String>,
        /// The broker's plain MQTT address; or up to 8, separated by commas, tried in this order
        #[arg(long, value_name = "HOST:PORT[,...]")]
        upstream: String,
        /// The broker's plain WebSocket address, or several
        #[arg(long, value_name = "HOST:PORT[,...]")]
        ws_upstream: Option<String>,
        /// A name that leads to it, or a wildcard; may be repeated
        #[arg(long = "host", value_name = "NAME")]
        hosts: Vec<String>,
        #[command(flatten)]
        settings: DeploymentSettingArgs,
        /// The project it belongs to
        #[arg(long, value_name = "ID")]
        project: Option<String>,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Change a deployment; what is not named stays
    #[command(group(ArgGroup::new("change").required(true).multiple(true)
        .args(["upstream", "ws_upstream", "no_ws_upstream", "hosts", "no_hosts"])
        .args(ids::<DeploymentSettingArgs>())))]
    #[command(mut_arg("profile", |profile| profile
        .help("How strictly its certificates are judged from now on: default or emqx-cloud")))]
    Set {
        /// Its id
        id: String,
        /// The broker's plain MQTT address; or up to 8, separated by commas, tried in this order
        #[arg(long, value_name = "HOST:PORT[,...]")]
        upstream: Option<String>,
        /// The broker's plain WebSocket address, or several
        #[arg(long, value_name = "HOST:PORT[,...]")]
        ws_upstream: Option<String>,
        /// Take the WebSocket addresses away
        #[arg(long, conflicts_with = "ws_upstream")]
        no_ws_upstream: bool,
        /// A name that leads to it; repeated: the whole new list
        #[arg(long = "host", value_name = "NAME")]
        hosts: Vec<String>,
        /// Take all names away
        #[arg(long, conflicts_with = "hosts")]
        no_hosts: bool,
        #[command(flatten)]
        settings: DeploymentSettingArgs,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// List the deployments
    List {
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Show a deployment
    Show {
        /// Its id
        id: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Remove a deployment with its certificate, keys, hosts and connections
    Remove {
        /// Its id
        id: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
}

/// The settings that `add` and `set` take alike, serialised as the API takes them.
#[derive(Debug, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeploymentSettingArgs {
    /// How strictly its certificates are judged: default or emqx-cloud
    #[arg(long, value_name = "PROFILE")]
    pub(crate) profile: Option<String>,
    /// The PROXY header that its broker receives: none, v2, emqx or mosquitto
    #[arg(long, value_name = "PROTOCOL")]
    pub(crate) proxy_protocol: Option<String>,
    /// The part of a client certificate sent as the device's name: cn, dn, san or fingerprint
    #[arg(long, value_name = "IDENTITY")]
    pub(crate) proxy_identity: Option<String>,
    /// How many connections each node lets in at once; 0 for no limit
    #[arg(long, value_name = "NUMBER")]
    pub(crate) connections: Option<u32>,
    /// How many new connections each node lets in a second; 0 for no limit
    #[arg(long, value_name = "NUMBER")]
    pub(crate) connection_rate: Option<u32>,
    /// The largest TLS record that devices are sent, in bytes: 512 to 16384
    #[arg(long, value_name = "NUMBER")]
    pub(crate) record_bytes: Option<u32>,
    /// Its name, for people
    #[arg(long, value_name = "TEXT")]
    #[serde(rename = "deploymentName")]
    pub(crate) name: Option<String>,
}

fn ids<T: Args>() -> Vec<Id> {
    let command = T::augment_args(clap::Command::default());
    command.get_arguments().map(|argument| argument.get_id().clone()).collect()
}

#[derive(Debug, Args)]
pub(crate) struct TlsArgs {
    #[command(subcommand)]
    pub(crate) command: TlsCommand,
}

#[derive(Debug, Args)]
pub(crate) struct UploadArgs {
    /// The certificate and its chain, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: PathBuf,
    /// The certificate's private key, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// A file with the passphrase of an encrypted key; one line break at its end is not part of it
    #[arg(long, value_name = "FILE")]
    pub(crate) key_password_file: Option<PathBuf>,
    /// The client CAs, PEM: two-way, every device must present a certificate
    #[arg(long, value_name = "FILE", conflicts_with = "one_way")]
    pub(crate) client_ca: Option<PathBuf>,
    /// No client certificates, also where they are asked for today
    #[arg(long)]
    pub(crate) one_way: bool,
    /// Keep the client CAs of the certificate that is replaced; one-way stays one-way
    #[arg(long, conflicts_with_all = ["client_ca", "one_way"])]
    pub(crate) keep_client_ca: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TlsCommand {
    /// Show the certificate's state
    Show {
        /// The deployment
        id: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Show the newest failed handshakes, of all nodes: who did not get in, why, and what to do
    Failures {
        /// The deployment
        id: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Have the server judge an upload without storing it
    #[command(after_help = "Exit codes: 0 no error, 1 errors, 2 wrong usage.")]
    Check {
        /// The deployment
        id: String,
        #[command(flatten)]
        upload: UploadArgs,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Set or replace the certificate
    Set {
        /// The deployment
        id: String,
        #[command(flatten)]
        upload: UploadArgs,
        /// Wait until every node has proven that it serves it; exit 1 if one cannot
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Delete the certificate and erase its keys; disconnects the deployment's devices
    Delete {
        /// The deployment
        id: String,
        /// Wait until no node serves it any more
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        connect: ConnectArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Create an API key; its secret is shown once
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
    List {
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Revoke an API key
    Revoke {
        /// The API key
        key: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
}

#[cfg(test)]
mod tests;
