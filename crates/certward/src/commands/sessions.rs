mod close;
mod list;
mod session_query;

use std::process::ExitCode;

use crate::cli::{SessionsArgs, SessionsCommand};

pub(super) async fn run(args: SessionsArgs) -> anyhow::Result<ExitCode> {
    let SessionsArgs { command, id, which, limit, connect } = args;
    match command {
        None => list::run(&id.unwrap_or_default(), &which, limit, &connect).await,
        Some(SessionsCommand::Close { id, which, yes, connect }) => {
            close::run(&id, &which, yes, &connect).await
        }
    }
}
