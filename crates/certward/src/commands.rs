//! One file a command. Each returns the exit code of what it found, or an error that says what to do next.

mod check;
mod deployment;
mod init;
mod key;
mod migrate_store;
mod nodes;
mod openapi;
mod project;
mod serve;
mod tls;
mod wait;

use std::process::ExitCode;

use anyhow::Context;
use certward_store::{DeploymentId, IdError, ProjectId};

use crate::{
    cli::{Cli, Command},
    usage::Usage,
};

/// Carries out what was asked for.
///
/// # Errors
/// With [`Usage`] or [`crate::config::ConfigError`] the exit code is 2, else 1.
pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Init(args) => init::run(&args),
        Command::MigrateStore(args) => migrate_store::run(args),
        Command::Check(args) => check::run(&args),
        Command::Project(args) => block_on(project::run(args.command)),
        Command::Deployment(args) => block_on(deployment::run(args.command)),
        Command::Tls(args) => block_on(tls::run(args.command)),
        Command::Key(args) => block_on(key::run(args.command)),
        Command::Nodes(connect) => block_on(nodes::run(connect)),
        Command::Openapi => openapi::run(),
    }
}

/// A command does one thing after the other: one thread is enough.
fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?
        .block_on(command)
}

fn deployment_id(text: &str) -> Result<DeploymentId, Usage> {
    DeploymentId::parse(text).map_err(|rule| wrong_id("deployment", text, rule))
}

fn project_id(text: &str) -> Result<ProjectId, Usage> {
    ProjectId::parse(text).map_err(|rule| wrong_id("project", text, rule))
}

fn wrong_id(what: &str, text: &str, rule: IdError) -> Usage {
    Usage::new(format!("{text:?} is no id of a {what}: {rule}"))
}
