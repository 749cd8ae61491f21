use certward_store::{AuditHead, AuditHeadError};
use clap::{Args, Subcommand};

use super::{config_args::ConfigArgs, connect::ConnectArgs};

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub(crate) command: AuditCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List changes and refused changes, newest first
    #[command(visible_alias = "ls")]
    #[command(after_help = "Examples:\n  certward audit list --deployment ge6a1a75 --since 7d\n  \
                            certward audit list --result refused")]
    List(AuditListArgs),
    /// Print all rows as JSON, one a line, oldest first, to keep elsewhere
    #[command(after_help = "Example: certward audit export > audit-$(date +%F).jsonl")]
    Export(ConnectArgs),
    /// Verify that no row was changed or removed, in the store itself, also while certward runs
    #[command(
        after_help = "Needs the configuration and the master key. A cut end, and rows written again by who has the master\n\
                      key, are found only with a head that was noted elsewhere, such as in the log of another machine.\n\
                      Exit codes: 0 sound, 1 not sound or not readable, 2 wrong usage.\n\
                      Example: certward audit verify --head 1042:9f86d081884c7d659a2feaa0c55ad015"
    )]
    Verify(AuditVerifyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AuditListArgs {
    /// Only of this deployment
    #[arg(long, value_name = "ID")]
    pub(crate) deployment: Option<String>,
    /// Only of this API key, or of certward itself
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Only this action; `tls.` (with the dot) is all that begin with it
    #[arg(long, value_name = "ACTION")]
    pub(crate) action: Option<String>,
    /// Only what was done, or only what was refused
    #[arg(long, value_name = "RESULT", value_parser = ["ok", "refused"])]
    pub(crate) result: Option<String>,
    /// From then on: a time such as "2034-05-12 02:43:21" (UTC), or days or hours ago such as 7d
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Up to then
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AuditVerifyArgs {
    /// A head noted earlier, NUMBER:HEX, which the audit must contain; repeatable
    #[arg(long = "head", value_name = "HEAD", value_parser = parse_head)]
    pub(crate) heads: Vec<AuditHead>,
    /// How many rows without a MAC are known: nodes of the release before wrote them after the
    /// chain began
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) known_without_mac: i64,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_head(text: &str) -> Result<AuditHead, AuditHeadError> {
    text.parse()
}
