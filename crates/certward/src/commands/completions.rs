use std::process::ExitCode;

use clap::CommandFactory;

use crate::{
    cli::{Cli, CompletionsArgs},
    output,
};

pub(super) fn run(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "certward", &mut script);
    output::say(String::from_utf8(script)?.trim_end())?;
    Ok(ExitCode::SUCCESS)
}
