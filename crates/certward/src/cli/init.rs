use clap::Args;

use super::config_args::ConfigArgs;

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Accepted for programs; the key is one JSON object on stdout in any case
    #[arg(long)]
    pub(crate) json: bool,
    /// Make another admin key in a store that is there already, if you lost yours
    #[arg(long)]
    pub(crate) new_admin_key: bool,
}
