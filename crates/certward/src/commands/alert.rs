mod channel;
mod list;
mod test;
mod unknown_channel;

use std::process::ExitCode;

use crate::cli::AlertCommand;

pub(super) async fn run(command: AlertCommand) -> anyhow::Result<ExitCode> {
    match command {
        AlertCommand::Channel(args) => channel::run(args.command).await,
        AlertCommand::Test { channel, connect } => test::run(&channel, &connect).await,
        AlertCommand::List { connect } => list::run(&connect).await,
    }
}
