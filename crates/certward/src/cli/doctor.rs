use clap::Args;

use super::config_args::ConfigArgs;

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
