use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use super::{close_rate::CloseRateArg, connect::ConnectArgs};

#[derive(Debug, Args)]
pub(crate) struct CrlArgs {
    #[command(subcommand)]
    pub(crate) command: CrlCommand,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("source").required(true).args(["file", "crl_url"])))]
pub(crate) struct CrlSetArgs {
    /// The deployment
    pub(crate) id: String,
    /// Its name in the deployment, such as that of its CA: 1 to 63 of a-z, 0-9 and -
    pub(crate) crl: String,
    /// The CRL, DER or PEM; an intermediate's certificate may stand beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Have the server fetch it from here, now and before each nextUpdate; crl_allow must permit
    /// the network
    #[arg(long = "from", value_name = "URL")]
    pub(crate) crl_url: Option<String>,
    /// What it means after its nextUpdate: soft, it still counts; hard, devices of its issuer are
    /// refused. Without it as the CRL that is replaced, and soft for a new one
    #[arg(long, value_name = "POLICY", value_parser = ["soft", "hard"])]
    pub(crate) stale: Option<String>,
    /// Close the sessions at this rate, such as 50/s; all at once without it
    #[arg(long, value_name = "RATE", value_parser = CloseRateArg::parse)]
    pub(crate) rate: Option<CloseRateArg>,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CrlCommand {
    /// Set or replace a CRL: upload it, or have it fetched
    #[command(
        after_help = "It closes the sessions of exactly those that it revokes. Exit code 1 if a node did not acknowledge it.\n\
                            Examples:\n  certward crl set ge6a1a75 meters --file meters.crl\n  \
                            certward crl set ge6a1a75 meters --from http://pki.example.com/meters.crl --stale hard"
    )]
    Set(CrlSetArgs),
    /// List the CRLs
    #[command(after_help = "Example: certward crl list ge6a1a75")]
    List {
        /// The deployment
        id: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Show a CRL: its issuer, number, dates, and how fetching it goes
    #[command(visible_alias = "get")]
    #[command(after_help = "Example: certward crl show ge6a1a75 meters")]
    Show {
        /// The deployment
        id: String,
        /// Its name, the first column of `crl list`
        crl: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Remove a CRL; what it alone revoked may connect again
    #[command(visible_aliases = ["rm", "delete"])]
    #[command(after_help = "Example: certward crl remove ge6a1a75 meters")]
    Remove {
        /// The deployment
        id: String,
        /// Its name, the first column of `crl list`
        crl: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
}
