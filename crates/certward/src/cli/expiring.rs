use clap::Args;

use super::{connect::ConnectArgs, time_span::TimeSpan};

#[derive(Debug, Args)]
pub(crate) struct ExpiringArgs {
    /// How far to look ahead: days or hours, such as 30d or 12h; what has expired is always listed
    #[arg(long, value_name = "SPAN", default_value = "30d", value_parser = TimeSpan::parse)]
    pub(crate) within: TimeSpan,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}
