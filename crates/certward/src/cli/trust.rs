use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{close_rate::CloseRateArg, connect::ConnectArgs};

#[derive(Debug, Args)]
pub(crate) struct TrustArgs {
    #[command(subcommand)]
    pub(crate) command: TrustCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TrustCommand {
    /// List the client CAs: until when each is valid, and the devices that it admits
    #[command(visible_aliases = ["get", "list", "ls"])]
    #[command(after_help = "Example: certward trust show ge6a1a75")]
    Show {
        /// The deployment
        id: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Add client CAs to those that are there; no device is disconnected
    #[command(visible_alias = "create")]
    #[command(after_help = "Leaf and key stay as they are, and need not be at hand.\n\
                            Example: certward trust add ge6a1a75 --client-ca new-ca.pem --wait")]
    Add {
        /// The deployment
        id: String,
        /// The client CAs to add, PEM
        #[arg(long, value_name = "FILE")]
        client_ca: PathBuf,
        /// Also if devices would be cut off, as when a client CA has expired since
        #[arg(long, short)]
        force: bool,
        /// Wait until every node has proven that it serves it; exit 1 if one cannot
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Remove a client CA; devices that no other one admits are disconnected
    #[command(visible_aliases = ["rm", "delete"])]
    #[command(
        after_help = "It prints the devices that would be refused, and stops if one of them is connected or was \
                            seen in the last 30 days, unless --force is given.\n\
                            Example: certward trust remove ge6a1a75 1f9757e6 --wait"
    )]
    Remove {
        /// The deployment
        id: String,
        /// The client CA, as `trust show` lists it; its first digits are enough
        fingerprint: String,
        /// Also if devices need it
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
    /// List the known devices that need a client CA: without it they would be refused
    #[command(after_help = "Examples:\n  certward trust stragglers ge6a1a75 1f9757e6\n  \
                            certward trust stragglers ge6a1a75 1f9757e6 --csv > stragglers.csv")]
    Stragglers {
        /// The deployment
        id: String,
        /// The client CA, as `trust show` lists it; its first digits are enough
        fingerprint: String,
        /// Print comma-separated values with all fields, for spreadsheets
        #[arg(long, conflicts_with = "json")]
        csv: bool,
        #[command(flatten)]
        connect: ConnectArgs,
    },
}
