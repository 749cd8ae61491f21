use std::path::PathBuf;

use clap::Args;

use super::connect::ConnectArgs;

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// An address that serves TLS, or a deployment: then the hosts that the API names, each at port
    /// 8883
    #[arg(value_name = "HOST:PORT|ID")]
    pub(crate) target: String,
    /// Where to connect to, instead of the host's own address
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) at: Option<String>,
    /// The server name to send (SNI), instead of the host
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// The CAs that devices trust, PEM; those of this machine when left out
    #[arg(long, value_name = "FILE")]
    pub(crate) server_ca: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}
