//! One page a command: `certward-tls-set.1` is that of `certward tls set`.

use std::{fs, path::Path, process::ExitCode};

use anyhow::Context;
use clap::CommandFactory;
use clap_mangen::Man;

use crate::{
    cli::{Cli, ManPagesArgs},
    output,
};

pub(super) fn run(args: &ManPagesArgs) -> anyhow::Result<ExitCode> {
    let folder = args.folder.display();
    fs::create_dir_all(&args.folder).with_context(|| format!("cannot make the folder {folder}"))?;
    // Without pages for `help`; built, so that each command knows its full name.
    let mut certward = Cli::command().disable_help_subcommand(true);
    certward.build();
    let count = write_pages(&certward, &args.folder)?;
    output::say(&format!("Wrote {count} man pages to {folder}."))?;
    Ok(ExitCode::SUCCESS)
}

/// The pages of the command and those below it; how many they are.
fn write_pages(command: &clap::Command, folder: &Path) -> anyhow::Result<usize> {
    // No date, so that pages of one release are the same; an empty one would shift the fields.
    let page = Man::new(command.clone())
        .date(" ")
        .manual("certward")
        .source(concat!("certward ", env!("CARGO_PKG_VERSION")));
    let path = folder.join(page.get_filename());
    let mut text = Vec::new();
    page.render(&mut text)?;
    // clap_mangen's heading of what follows the options.
    let text = String::from_utf8(text)?.replace(".SH EXTRA", ".SH NOTES");
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    let below = command.get_subcommands().map(|below| write_pages(below, folder));
    Ok(1 + below.sum::<anyhow::Result<usize>>()?)
}
