use std::net::IpAddr;

use clap::{ArgGroup, Args, Subcommand};

use super::connect::ConnectArgs;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(
    after_help = "Examples:\n  certward sessions ge6a1a75\n  certward sessions ge6a1a75 --address 192.0.2.7"
)]
pub(crate) struct SessionsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<SessionsCommand>,
    /// The deployment
    // Optional for clap's derived reader: a subcommand has its own.
    #[arg(required = true)]
    pub(crate) id: Option<String>,
    #[command(flatten)]
    pub(crate) which: SessionFilterArgs,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SessionFilterArgs {
    /// Only of this device: 32 hexadecimal digits, the first column of `certward devices ID`
    #[arg(long, value_name = "DEVICE", conflicts_with = "address")]
    pub(crate) device: Option<String>,
    /// Only from this IP address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) address: Option<IpAddr>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionsCommand {
    /// Close the sessions of a device, or those from an address; devices may connect again
    #[command(group(ArgGroup::new("which").required(true).args(["device", "address"])))]
    #[command(
        after_help = "On a terminal it asks first; in a script it does not. Exit code 1 if a node did not answer: its sessions may go on.\n\
                            Example: certward sessions close ge6a1a75 --address 192.0.2.7 --yes"
    )]
    Close {
        /// The deployment
        id: String,
        #[command(flatten)]
        which: SessionFilterArgs,
        /// Do not ask, on a terminal either
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        connect: ConnectArgs,
    },
}
