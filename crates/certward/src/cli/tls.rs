use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{close_rate::CloseRateArg, connect::ConnectArgs};

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
    #[command(visible_alias = "get")]
    #[command(after_help = "Example: certward tls show ge6a1a75")]
    Show {
        /// The deployment
        id: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Show the newest failed handshakes, of all nodes: who did not get in, why, and what to do
    #[command(after_help = "Example: certward tls failures ge6a1a75")]
    Failures {
        /// The deployment
        id: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Have the server judge an upload without storing it
    #[command(after_help = "Exit codes: 0 no error, 1 errors, 2 wrong usage.\n\
                            Example: certward tls check ge6a1a75 --cert fullchain.pem --key privkey.pem")]
    Check {
        /// The deployment
        id: String,
        #[command(flatten)]
        upload: UploadArgs,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Set or replace the certificate
    #[command(
        after_help = "Example: certward tls set ge6a1a75 --cert fullchain.pem --key privkey.pem --wait"
    )]
    Set {
        /// The deployment
        id: String,
        #[command(flatten)]
        upload: UploadArgs,
        /// Also if devices would be cut off: otherwise a person is asked, and a script gets exit 1
        #[arg(long, short)]
        force: bool,
        /// Disconnect devices that lose trust at this rate, such as 50/s; all at once without it
        #[arg(long, value_name = "RATE", value_parser = CloseRateArg::parse)]
        rate: Option<CloseRateArg>,
        /// Wait until every node has proven that it serves it; exit 1 if one cannot
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// List the versions that are kept, newest first: each accepted upload is one
    #[command(after_help = "Example: certward tls versions ge6a1a75")]
    Versions {
        /// The deployment
        id: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Show how two versions differ: names, issuer, kind of key, dates, client CAs, chain
    #[command(after_help = "Example: certward tls diff ge6a1a75 4 6")]
    Diff {
        /// The deployment
        id: String,
        /// A version, as `tls versions` lists it
        #[arg(value_parser = clap::value_parser!(i64).range(1..))]
        from: i64,
        /// Another version
        #[arg(value_parser = clap::value_parser!(i64).range(1..))]
        to: i64,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Go back to an earlier version: its certificate, key and client CAs
    #[command(
        after_help = "It stops before it cuts devices off or ends client verification, unless --force is given; \
                            on a terminal it asks.\n\
                            Example: certward tls rollback ge6a1a75 --wait"
    )]
    Rollback {
        /// The deployment
        id: String,
        /// The version; without it, the last one that was running before the newest
        #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(i64).range(1..))]
        to: Option<i64>,
        /// Do not ask, on a terminal either
        #[arg(long, short)]
        yes: bool,
        /// Also if it would cut devices off
        #[arg(long)]
        force: bool,
        /// Disconnect devices that lose trust at this rate, such as 50/s; all at once without it
        #[arg(long, value_name = "RATE", value_parser = CloseRateArg::parse)]
        rate: Option<CloseRateArg>,
        /// Wait until every node has proven that it serves it; exit 1 if one cannot
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Erase the private key of a version for good, such as a leaked one
    #[command(after_help = "On a terminal it asks first; in a script it does not.\n\
                            Example: certward tls erase-version ge6a1a75 4 --yes")]
    EraseVersion {
        /// The deployment
        id: String,
        /// The version, as `tls versions` lists it
        #[arg(value_name = "VERSION", value_parser = clap::value_parser!(i64).range(1..))]
        number: i64,
        /// Do not ask, on a terminal either
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Delete the certificate and erase its keys; disconnects the deployment's devices
    #[command(visible_aliases = ["rm", "remove"])]
    #[command(after_help = "On a terminal it asks first; in a script it does not.\n\
                            Example: certward tls delete ge6a1a75 --yes --wait")]
    Delete {
        /// The deployment
        id: String,
        /// Do not ask, on a terminal either
        #[arg(long, short)]
        yes: bool,
        /// Disconnect devices at this rate, such as 50/s; all at once without it
        #[arg(long, value_name = "RATE", value_parser = CloseRateArg::parse)]
        rate: Option<CloseRateArg>,
        /// Wait until no node serves it any more
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        connect: ConnectArgs,
    },
}
