use std::path::PathBuf;

use clap::Args;

use super::config_args::ConfigArgs;

#[derive(Args)]
pub(crate) struct MigrateStoreArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The database, postgres://…; store of the configuration when left out. With a password in it
    /// the variable or the file is safer: other users of the machine can see command lines
    #[arg(long, value_name = "URL", env = "CERTWARD_MIGRATE_TO", hide_env_values = true)]
    pub(crate) to: Option<String>,
    /// A file with that URL; one line break at its end is not part of it
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    pub(crate) to_file: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Without the URL, which may hold a password.
impl std::fmt::Debug for MigrateStoreArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MigrateStoreArgs").field("config", &self.config).finish_non_exhaustive()
    }
}
