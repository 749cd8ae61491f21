mod add;
mod client_cas;
mod remove;
mod show;
mod stragglers;

use std::process::ExitCode;

use crate::cli::TrustCommand;

use remove::RemoveMode;

pub(super) async fn run(command: TrustCommand) -> anyhow::Result<ExitCode> {
    match command {
        TrustCommand::Show { id, connect } => show::run(&id, &connect).await,
        TrustCommand::Add { id, client_ca, force, wait, connect } => {
            add::run(&id, &client_ca, (force, wait), &connect).await
        }
        TrustCommand::Remove { id, fingerprint, force, rate, wait, connect } => {
            remove::run(&id, &fingerprint, RemoveMode { force, rate, wait }, &connect).await
        }
        TrustCommand::Stragglers { id, fingerprint, csv, connect } => {
            stragglers::run(&id, &fingerprint, csv, &connect).await
        }
    }
}
