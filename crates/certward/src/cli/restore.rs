use std::path::PathBuf;

use clap::Args;

use super::config_args::ConfigArgs;

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
