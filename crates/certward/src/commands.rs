//! One file per command; each returns an exit code, or an error with its remedy.

mod alert;
mod anonymous_nodes;
mod audit;
mod backup;
mod broker_trouble;
mod check;
mod completions;
mod config;
mod crl;
mod deployment;
mod devices;
mod doctor;
mod end_urgency;
mod expiring;
mod healthcheck;
mod init;
mod inspect;
mod key;
mod login;
mod logins;
mod logout;
mod man_pages;
mod migrate_store;
mod nodes;
mod openapi;
mod paced_close;
mod project;
mod question;
mod rekey;
mod restore;
mod revocation;
mod serve;
mod sessions;
mod silent_nodes;
mod status;
mod tls;
mod trust;
mod wait;

use std::process::ExitCode;

use anyhow::Context;
use certward_pki::DeviceId;
use certward_store::{ChannelId, DeploymentId, IdError, ProjectId};

use crate::{
    cli::{Cli, Command},
    usage::UsageError,
};

/// Runs the command.
///
/// # Errors
/// Exit code 2 for [`UsageError`] and [`crate::config::ConfigError`], else 1.
pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Init(args) => init::run(&args),
        Command::MigrateStore(args) => migrate_store::run(args),
        Command::Backup(args) => backup::run(&args),
        Command::Restore(args) => restore::run(&args),
        Command::Rekey(args) => rekey::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Config(args) => config::run(args.command),
        Command::Inspect(args) => block_on(inspect::run(args)),
        Command::Doctor(args) => doctor::run(&args),
        Command::Healthcheck(args) => healthcheck::run(&args),
        Command::Project(args) => block_on(project::run(args.command)),
        Command::Deployment(args) => block_on(deployment::run(args.command)),
        Command::Tls(args) => block_on(tls::run(args.command)),
        Command::Trust(args) => block_on(trust::run(args.command)),
        Command::Revocation(args) => block_on(revocation::run(args.command)),
        Command::Crl(args) => block_on(crl::run(args.command)),
        Command::Key(args) => block_on(key::run(args.command)),
        Command::Status(connect) => block_on(status::run(connect)),
        Command::Expiring(args) => block_on(expiring::run(args)),
        Command::Alert(args) => block_on(alert::run(args.command)),
        Command::Audit(args) => audit::run(args.command),
        Command::Devices(args) => block_on(devices::run(args)),
        Command::Sessions(args) => block_on(sessions::run(args)),
        Command::Nodes(connect) => block_on(nodes::run(connect)),
        Command::Login(args) => block_on(login::run(args)),
        Command::Logout(args) => logout::run(&args),
        Command::Logins(args) => logins::run(&args),
        Command::Openapi => openapi::run(),
        Command::Completions(args) => completions::run(&args),
        Command::ManPages(args) => man_pages::run(&args),
    }
}

/// Commands are sequential: one thread is enough.
fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?
        .block_on(command)
}

fn deployment_id(text: &str) -> Result<DeploymentId, UsageError> {
    DeploymentId::parse(text).map_err(|rule| wrong_id("deployment", text, rule))
}

fn project_id(text: &str) -> Result<ProjectId, UsageError> {
    ProjectId::parse(text).map_err(|rule| wrong_id("project", text, rule))
}

fn channel_id(text: &str) -> Result<ChannelId, UsageError> {
    ChannelId::parse(text).map_err(|rule| wrong_id("channel", text, rule))
}

fn device_id(text: &str) -> Result<DeviceId, UsageError> {
    let wrong = "is not a device id: 32 hexadecimal digits, the first column of `certward devices ID`";
    DeviceId::parse(text).ok_or_else(|| UsageError::new(format!("{text:?} {wrong}")))
}

fn wrong_id(what: &str, text: &str, rule: IdError) -> UsageError {
    UsageError::new(format!("{text:?} is not a {what} id: {rule}"))
}
