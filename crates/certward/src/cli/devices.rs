use clap::{Args, Subcommand};

use super::connect::ConnectArgs;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(
    after_help = "Examples:\n  certward devices ge6a1a75\n  certward devices ge6a1a75 --csv > devices.csv"
)]
pub(crate) struct DevicesArgs {
    #[command(subcommand)]
    pub(crate) command: Option<DevicesCommand>,
    /// The deployment
    // Optional for clap's derived reader: a subcommand has its own.
    #[arg(required = true)]
    pub(crate) id: Option<String>,
    /// Print comma-separated values with all fields, for spreadsheets
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DevicesCommand {
    /// Show what all devices have in common: how many, their hosts, and what they can verify
    #[command(after_help = "Example: certward devices summary ge6a1a75 --days 30")]
    Summary {
        /// The deployment
        id: String,
        /// The newest days of what devices offered
        #[arg(long, value_name = "COUNT", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=30))]
        days: u32,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Forget a device; if it is connected, or connects again, it is recorded again within an hour
    #[command(after_help = "Example: certward devices forget ge6a1a75 5d41402abc4b2a76b9719d911017c592")]
    Forget {
        /// The deployment
        id: String,
        /// The device: 32 hexadecimal digits, the first column of `certward devices ID`
        device: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
}
