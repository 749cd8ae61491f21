//! Looks at all that a node needs, beside a running certward or without one, and changes nothing.
//!
//! One check a file: each gives [`Check`]s. What cannot be looked at is said as a warning. The
//! network has a budget of its own, so that the whole ends within half a minute.

mod alert_channels;
mod api_certificate;
mod brokers;
mod certificates;
mod check;
mod clock;
mod configuration;
mod files;
mod inspected_deployment;
mod jobs;
mod listen_addresses;
mod names;
mod open_files;
mod report;
mod running_process;
mod sockets;
mod store;

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use certward_store::{Clock, DeploymentId, SystemClock};
use tokio::time::{Instant, timeout};

use self::{
    check::{Check, CheckKind, Verdict},
    inspected_deployment::InspectedDeployment,
    running_process::RunningProcess,
    store::InspectedStore,
};
use super::deployment_id;
use crate::{cli::DoctorArgs, config::Config, output, style::Style};

/// For opening the store and all that is asked of it as a whole.
const STORE_TIMEOUT: Duration = Duration::from_secs(8);
/// For its deployments.
const READ_BUDGET: Duration = Duration::from_secs(3);
/// For brokers and names.
const NETWORK_BUDGET: Duration = Duration::from_secs(18);
/// With three lines each; `--deployment` looks at any other.
const DEPLOYMENTS_MAX: u32 = 1000;

pub(super) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let only = args.deployment.as_deref().map(deployment_id).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let checks = runtime.block_on(examine(args, only.as_ref()));
    // A look-up cannot be cancelled, and may take long.
    runtime.shutdown_background();
    if args.json {
        output::say_json(&report::Json::of(&checks))?;
    } else {
        output::say(&report::text(&checks, Style::of_stdout()))?;
    }
    let failed = checks.iter().any(|check| check.verdict == Verdict::Error);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn examine(args: &DoctorArgs, only: Option<&DeploymentId>) -> Vec<Check> {
    let (config, mut checks) = match configuration::load(args.config.config.as_deref()) {
        Ok(loaded) => loaded,
        Err(check) => return vec![check],
    };
    let now = SystemClock.now();
    let process = RunningProcess::of(&config.data_dir);
    checks.extend(files::check(&config, args.config.config.as_deref()));
    checks.extend(listen_addresses::check(&config, process));
    checks.extend(clock::of_program(now));
    checks.extend(api_certificate::check(&config, now));
    let (store, of_store) = match timeout(STORE_TIMEOUT, store::open(&config, now)).await {
        Ok(opened) => opened,
        Err(_) => (None, vec![store::silent(&config, STORE_TIMEOUT)]),
    };
    checks.extend(of_store);
    let mut most_devices = 0;
    match &store {
        Some(store) => {
            let (deployments, of_list) = read(store, only).await;
            checks.extend(of_list);
            most_devices = open_files::devices_wanted(&deployments);
            checks.extend(of_deployments(&config, store, &deployments, only.is_none()).await);
            store.close().await;
        }
        None => checks.push(Check::unknown(
            CheckKind::Deployment,
            "deployments are not checked (brokers, names, certificates, alert channels): the store cannot be read",
        )),
    }
    checks.push(open_files::check(process, most_devices));
    if only.is_some() {
        // What is about others is said only if something is wrong with it.
        checks.retain(|check| check.kind.is_of_deployment() || check.verdict != Verdict::Ok);
    }
    checks.sort_by_key(|check| check.kind);
    checks
}

async fn read(store: &InspectedStore, only: Option<&DeploymentId>) -> (Vec<InspectedDeployment>, Vec<Check>) {
    match store.deployments(only, DEPLOYMENTS_MAX, Instant::now() + READ_BUDGET).await {
        Ok((deployments, left_out)) => {
            let mut checks = Vec::new();
            if left_out > 0 {
                checks.push(Check::warning(
                    CheckKind::LeftOut,
                    format!(
                        "{left_out} deployments were left out: {} are checked, by their ids",
                        deployments.len()
                    ),
                    "certward doctor --deployment ID",
                ));
            }
            if let (Some(id), true) = (only, deployments.is_empty()) {
                let sentence = format!("the deployment {id} does not exist");
                checks.push(Check::error(CheckKind::Deployment, sentence, "certward deployment list"));
            }
            (deployments, checks)
        }
        Err(error) => {
            let sentence = format!("deployments are not checked: {error}");
            (Vec::new(), vec![Check::unknown(CheckKind::Deployment, sentence)])
        }
    }
}

async fn of_deployments(
    config: &Config,
    store: &InspectedStore,
    deployments: &[InspectedDeployment],
    with_channels: bool,
) -> Vec<Check> {
    let now = SystemClock.now();
    let mut checks: Vec<Check> =
        deployments.iter().flat_map(|looked| certificates::check(looked, now)).collect();
    let mut jobs = Vec::new();
    if config.role.has_gateway() {
        jobs.extend(brokers::jobs(config, deployments, &store.boundaries().await));
        jobs.extend(names::jobs(deployments));
    }
    if with_channels && config.role.has_api() {
        match store.alert_channels().await {
            Ok(channels) => jobs.extend(alert_channels::jobs(config, &channels)),
            Err(error) => {
                let sentence = format!("alert channels are not checked: {error}");
                checks.push(Check::unknown(CheckKind::AlertChannel, sentence));
            }
        }
    }
    checks.extend(jobs::run(jobs, Instant::now() + NETWORK_BUDGET).await);
    checks
}
