use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use super::{close_rate::CloseRateArg, connect::ConnectArgs};

#[derive(Debug, Args)]
pub(crate) struct RevocationArgs {
    #[command(subcommand)]
    pub(crate) command: RevocationCommand,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["cert", "fingerprint", "serial", "name"])))]
pub(crate) struct RevocationAddArgs {
    /// The deployment
    pub(crate) id: String,
    /// A device's certificate, PEM; repeated for several
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Vec<PathBuf>,
    /// The certificate of a known device by its SHA-256 fingerprint; repeated for several
    #[arg(long, value_name = "FINGERPRINT")]
    pub(crate) fingerprint: Vec<String>,
    /// A serial number of --issuer, in hexadecimal digits; repeated for several
    #[arg(long, value_name = "SERIAL", requires = "issuer")]
    pub(crate) serial: Vec<String>,
    /// A name, exactly as the broker receives it; repeated for several
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Vec<String>,
    /// The issuer of the serial numbers or names, as `devices --csv` and `tls failures` show it
    #[arg(long, value_name = "ISSUER", conflicts_with_all = ["cert", "fingerprint"])]
    pub(crate) issuer: Option<String>,
    /// Why, for people: one line
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Close the sessions at this rate, such as 50/s; all at once without it
    #[arg(long, value_name = "RATE", value_parser = CloseRateArg::parse)]
    pub(crate) rate: Option<CloseRateArg>,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RevocationCommand {
    /// Refuse devices by certificate, serial number or name, and close their sessions
    #[command(visible_alias = "create")]
    #[command(
        after_help = "Other devices are not concerned. Exit code 1 if a node did not acknowledge it: its sessions may go on.\n\
                            Examples:\n  certward revocation add ge6a1a75 --cert meter-7.pem --reason \"stolen\"\n  \
                            certward revocation add ge6a1a75 --issuer \"CN=Meters\" --serial 4d0b6a1f\n  \
                            certward revocation add ge6a1a75 --name meter-7"
    )]
    Add(RevocationAddArgs),
    /// List what is refused, newest first
    #[command(after_help = "Example: certward revocation list ge6a1a75 --csv > revocations.csv")]
    List {
        /// The deployment
        id: String,
        /// Print comma-separated values with all fields, for spreadsheets
        #[arg(long, conflicts_with = "json")]
        csv: bool,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Refuse no longer; devices may connect again
    #[command(visible_aliases = ["rm", "delete"])]
    #[command(after_help = "Example: certward revocation remove ge6a1a75 c4ca4238a0b923820dcc509a6f75849b")]
    Remove {
        /// The deployment
        id: String,
        /// The revocation, the first column of `revocation list`; its first digits are enough
        revocation: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
}
