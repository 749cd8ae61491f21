use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct ManPagesArgs {
    /// The folder, made if it is missing; pages of earlier releases in it are overwritten
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}
