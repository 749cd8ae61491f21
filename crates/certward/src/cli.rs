//! The command line for clap; `commands` runs it.

mod alert;
mod audit;
mod backup;
mod check;
mod close_rate;
mod completions;
mod config;
mod config_args;
mod connect;
mod crl;
mod deployment;
mod devices;
mod doctor;
mod expiring;
mod init;
mod inspect;
mod key;
mod key_end;
mod login;
mod man_pages;
mod migrate_store;
mod project;
mod rekey;
mod restore;
mod revocation;
mod serve;
mod sessions;
mod time_span;
mod tls;
mod trust;

use clap::{Parser, Subcommand};

pub(crate) use self::{
    alert::{AlertArgs, AlertChannelAddArgs, AlertChannelCommand, AlertCommand},
    audit::{AuditArgs, AuditCommand, AuditListArgs, AuditVerifyArgs},
    backup::BackupArgs,
    check::CheckArgs,
    close_rate::CloseRateArg,
    completions::CompletionsArgs,
    config::{ConfigCommand, ConfigCommandArgs},
    config_args::ConfigArgs,
    connect::{ApiArgs, ConnectArgs},
    crl::{CrlArgs, CrlCommand, CrlSetArgs},
    deployment::{DeploymentArgs, DeploymentCommand, DeploymentSettingArgs},
    devices::{DevicesArgs, DevicesCommand},
    doctor::DoctorArgs,
    expiring::ExpiringArgs,
    init::InitArgs,
    inspect::InspectArgs,
    key::{KeyArgs, KeyCommand},
    login::{LoginArgs, LoginsArgs, LogoutArgs},
    man_pages::ManPagesArgs,
    migrate_store::MigrateStoreArgs,
    project::{ProjectArgs, ProjectCommand},
    rekey::RekeyArgs,
    restore::RestoreArgs,
    revocation::{RevocationAddArgs, RevocationArgs, RevocationCommand},
    serve::ServeArgs,
    sessions::{SessionFilterArgs, SessionsArgs, SessionsCommand},
    tls::{TlsArgs, TlsCommand, UploadArgs},
    trust::{TrustArgs, TrustCommand},
};

/// TLS certificates of MQTT deployments: an HTTP API to set them, a gateway that serves them.
#[derive(Debug, Parser)]
#[command(name = "certward", version, propagate_version = true)]
#[command(after_help = "--json and the flags of the connection may stand before the command as well.\n\
                        Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run certward: the API and the gateway, or one of the two
    #[command(
        after_help = "SIGTERM and SIGINT drain and end it; SIGHUP re-reads the API's certificate, the log level and the places of the master keys.\n\
                            Example: certward serve --config /etc/certward/certward.toml"
    )]
    Serve(ServeArgs),
    /// Make the store, the master key and the first admin key
    #[command(after_help = "Example: certward init > admin.json")]
    Init(InitArgs),
    /// Copy the embedded store to an empty PostgreSQL database
    #[command(name = "migrate-store")]
    #[command(
        after_help = "Stop certward first. Then set store in the configuration, and start certward again.\n\
                            Example: certward migrate-store --to-file store-url"
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
    #[command(after_help = "Exit codes: 0 no error, 1 errors, 2 wrong usage.\n\
                            Examples:\n  certward check fullchain.pem privkey.pem --host mqtt.example.com\n  \
                            cat fullchain.pem | certward check - privkey.pem")]
    Check(CheckArgs),
    /// The configuration
    Config(ConfigCommandArgs),
    /// Look for faults of this node and its deployments, and say what fixes each
    #[command(after_help = "It changes nothing, and runs beside certward or without it, as the same user.\n\
                            Exit codes: 0 no error, 1 errors, 2 wrong usage.\n\
                            Example: certward doctor --config /etc/certward/certward.toml")]
    Doctor(DoctorArgs),
    /// Show what is served at an address, or to the devices of a deployment
    #[command(
        after_help = "It makes a few handshakes without a client certificate; two-way deployments list them as failed.\n\
                            Exit codes: 0 seen, 1 not all could be seen, or a server lacks its key or serves another certificate than the newest, 2 wrong usage.\n\
                            Example: certward inspect mqtt.example.com:8883\n\
                            Example: certward inspect ge6a1a75 --at 127.0.0.1:8883"
    )]
    Inspect(InspectArgs),
    /// Ask the certward of this machine whether it is ready, for health checks of containers
    #[command(after_help = "It asks /readyz at the configured api.listen, and needs no key.\n\
                            Exit codes: 0 ready, 1 not ready or no answer, 2 wrong usage.\n\
                            Example: certward healthcheck --config /etc/certward/certward.toml")]
    Healthcheck(ConfigArgs),
    /// Projects: deployments that belong together
    Project(ProjectArgs),
    /// Deployments: one broker and the hosts that lead to it
    Deployment(DeploymentArgs),
    /// The certificate of a deployment
    Tls(TlsArgs),
    /// The client CAs of a deployment: who uses each, and replacing one without losing a device
    Trust(TrustArgs),
    /// The deny-list of a deployment: devices that it refuses
    Revocation(RevocationArgs),
    /// The CRLs of a deployment
    Crl(CrlArgs),
    /// The devices of a deployment: which there are, and what they can verify
    Devices(DevicesArgs),
    /// The sessions of a deployment's devices, on all nodes
    Sessions(SessionsArgs),
    /// API keys
    Key(KeyArgs),
    /// All deployments, those that need attention first
    #[command(after_help = "Exit codes: 0 it could be read, whatever it says; 1 failed, 2 wrong usage.\n\
                            Example: certward status")]
    Status(ConnectArgs),
    /// What ends soon or has expired: certificates, client CAs, CRLs, API keys
    #[command(after_help = "Example: certward expiring --within 90d")]
    Expiring(ExpiringArgs),
    /// Alerts about what ends, and the channels they go to
    Alert(AlertArgs),
    /// The audit: who changed what, what was refused, and whether a row was changed or removed
    Audit(AuditArgs),
    /// The nodes: what each does, and how many changes wait for it
    #[command(after_help = "Example: certward nodes")]
    Nodes(ConnectArgs),
    /// Store an API's address and key for later commands, once the API accepts the key
    #[command(after_help = "On a terminal it asks for what is not given. A login that exists is replaced.\n\
                            Examples:\n  certward login --key-file admin.json\n  \
                            certward login --name prod --url https://certward.example/public_api/v1 --ca api-ca.pem")]
    Login(LoginArgs),
    /// Remove a stored login; its key stays valid
    #[command(after_help = "Example: certward logout --name prod")]
    Logout(LogoutArgs),
    /// List the stored logins, without secrets
    #[command(after_help = "Example: certward logins")]
    Logins(LoginsArgs),
    /// Print the OpenAPI 3.1 document of the API
    #[command(after_help = "Example: certward openapi > openapi.json")]
    Openapi,
    /// Print the completions of the command line for a shell
    #[command(after_help = "Example: certward completions bash > /etc/bash_completion.d/certward")]
    Completions(CompletionsArgs),
    /// Write the man pages, one for each command, to a folder
    #[command(name = "man-pages")]
    #[command(after_help = "Example: certward man-pages /usr/local/share/man/man1")]
    ManPages(ManPagesArgs),
}

#[cfg(test)]
mod tests;
