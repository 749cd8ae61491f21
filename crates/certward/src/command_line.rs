//! Parses the command line. Flags of most commands may stand before the command:
//! `certward --json tls show d1`.

use std::ffi::OsString;

use clap::{
    Arg, ArgMatches, Args, Command, CommandFactory, FromArgMatches, error::ErrorKind, parser::ValueSource,
};

use crate::cli::{Cli, ConnectArgs};

/// Parses a command line, with the program's name.
///
/// # Errors
/// clap's, also for `--help` and `--version`.
pub(crate) fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    // Global: clap carries their values to the command. Hidden: not every command takes them.
    let mut definition = Cli::command().args(flags().into_iter().map(|flag| flag.global(true).hide(true)));
    let matches = definition.try_get_matches_from_mut(line)?;
    refuse_unused(&matches, &mut definition)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut definition))
}

fn flags() -> Vec<Arg> {
    ConnectArgs::augment_args(Command::new("flags")).get_arguments().cloned().collect()
}

/// clap accepts a global flag for each command, and `certward serve` has no use for `--json`.
fn refuse_unused(matches: &ArgMatches, definition: &mut Command) -> Result<(), clap::Error> {
    // Without the global flags.
    let mut command = &Cli::command();
    let mut found = matches;
    while let Some((name, below)) = found.subcommand() {
        let Some(of_name) = command.find_subcommand(name) else { break };
        (command, found) = (of_name, below);
    }
    let is_given = |flag: &Arg| found.value_source(flag.get_id().as_str()) == Some(ValueSource::CommandLine);
    let is_taken = |flag: &Arg| command.get_arguments().any(|own| own.get_id() == flag.get_id());
    match flags().iter().find(|flag| is_given(flag) && !is_taken(flag)) {
        Some(flag) => Err(definition.error(
            ErrorKind::UnknownArgument,
            format!("`{}` has no flag --{}", command.get_name(), flag.get_long().unwrap_or_default()),
        )),
        None => Ok(()),
    }
}
