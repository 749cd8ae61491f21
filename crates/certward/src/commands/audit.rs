mod export;
mod list;
mod verify;

use std::process::ExitCode;

use super::block_on;
use crate::cli::AuditCommand;

pub(super) fn run(command: AuditCommand) -> anyhow::Result<ExitCode> {
    match command {
        AuditCommand::List(args) => block_on(list::run(args)),
        AuditCommand::Export(connect) => block_on(export::run(&connect)),
        AuditCommand::Verify(args) => verify::run(args),
    }
}
