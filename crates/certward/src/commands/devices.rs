mod forget;
pub(super) mod list;
mod summary;

use std::process::ExitCode;

use crate::cli::{DevicesArgs, DevicesCommand};

pub(super) async fn run(args: DevicesArgs) -> anyhow::Result<ExitCode> {
    let DevicesArgs { command, id, csv, connect } = args;
    match command {
        None => list::run(&id.unwrap_or_default(), csv, &connect).await,
        Some(DevicesCommand::Summary { id, days, connect }) => summary::run(&id, days, &connect).await,
        Some(DevicesCommand::Forget { id, device, connect }) => forget::run(&id, &device, &connect).await,
    }
}
