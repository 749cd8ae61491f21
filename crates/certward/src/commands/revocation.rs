mod add;
mod device_certificate;
mod list;
mod remove;

use std::process::ExitCode;

use crate::cli::RevocationCommand;

pub(super) async fn run(command: RevocationCommand) -> anyhow::Result<ExitCode> {
    match command {
        RevocationCommand::Add(args) => add::run(&args).await,
        RevocationCommand::List { id, csv, connect } => list::run(&id, csv, &connect).await,
        RevocationCommand::Remove { id, revocation, connect } => {
            remove::run(&id, &revocation, &connect).await
        }
    }
}
