use clap::Args;

use super::connect::ApiArgs;
use crate::login::LoginName;

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// A name, to use it by --login NAME; without one it is used wherever no key is given
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) name: LoginName,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// The login
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) name: LoginName,
}

#[derive(Debug, Args)]
pub(crate) struct LoginsArgs {
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}
