use certward_store::Role;
use clap::Args;

use super::config_args::ConfigArgs;
use crate::config::parse_role;

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Take the place of the certward that serves from the same data folder, without refusing a
    /// connection; the same as without where none serves
    #[arg(long)]
    pub(crate) takeover: bool,
    /// What this node does: all, api or gateway; without it what the configuration says
    #[arg(long, value_name = "ROLE", value_parser = parse_role)]
    pub(crate) role: Option<Role>,
}
