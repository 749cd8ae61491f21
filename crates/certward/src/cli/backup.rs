use std::path::PathBuf;

use clap::Args;

use super::config_args::ConfigArgs;

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The file to make; one that exists is not overwritten
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
