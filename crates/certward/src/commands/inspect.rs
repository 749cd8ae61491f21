//! Shows what TLS servers serve: the chain, versions, cipher suites, client certificates.

mod handshake;
mod inspected_endpoint;
mod report;
mod seen_server;
mod trust;

use std::{process::ExitCode, sync::Arc};

use certward_store::{Clock, DeploymentId, SystemClock};
use rustls::crypto::aws_lc_rs;

use self::{
    inspected_endpoint::InspectedEndpoint,
    report::{DeploymentReport, EndpointReport},
    trust::DeviceTrust,
};
use super::deployment_id;
use crate::{
    api_types::DeploymentAnswer, cli::InspectArgs, client::Client, output, style::Style, usage::UsageError,
};

pub(super) async fn run(args: InspectArgs) -> anyhow::Result<ExitCode> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let trust = DeviceTrust::read(args.server_ca.as_deref(), &provider)?;
    let (endpoints, deployment) = match args.target.contains(':') {
        true => (vec![InspectedEndpoint::at_address(&args)?], None),
        false => {
            let id = deployment_or_address(&args.target)?;
            let answer = Client::new(&args.connect)?.get(&["deployments", id.as_str()]).await?;
            let answer: DeploymentAnswer = serde_json::from_value(answer)?;
            let (endpoints, left_out) = match answer.tls {
                Some(_) => endpoints_of(&answer, &args)?,
                None => (Vec::new(), Vec::new()),
            };
            (endpoints, Some((answer, left_out)))
        }
    };
    let now = SystemClock.now();
    let reports: Vec<EndpointReport> = endpoints
        .iter()
        .map(|endpoint| EndpointReport::of(endpoint, seen_server::look(endpoint, &provider), &trust, now))
        .collect();
    let deployment = deployment.map(|(answer, left_out)| DeploymentReport::of(&answer, left_out, &reports));
    if args.connect.json {
        output::say_json(&report::json(deployment.as_ref(), &reports))?;
    } else {
        output::say(&report::text(deployment.as_ref(), &reports, Style::of_stdout()))?;
    }
    let is_seen = !reports.is_empty() && reports.iter().all(EndpointReport::is_sound);
    let is_newest = deployment.is_none_or(|deployment| deployment.is_newest_served());
    Ok(if is_seen && is_newest { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn deployment_or_address(target: &str) -> anyhow::Result<DeploymentId> {
    if target.contains('.') {
        let why = format!("{target} has no port: write {target}:8883, or name a deployment");
        return Err(UsageError::new(why).into());
    }
    Ok(deployment_id(target)?)
}

/// With the hosts that are not looked at.
fn endpoints_of(
    deployment: &DeploymentAnswer,
    args: &InspectArgs,
) -> anyhow::Result<(Vec<InspectedEndpoint>, Vec<String>)> {
    let of_host = |host: &String| InspectedEndpoint::of_host(host, args.at.as_deref());
    if let Some(name) = &args.server_name {
        return Ok((vec![of_host(name)?], Vec::new()));
    }
    if deployment.hosts.is_empty() {
        let Some(at) = &args.at else {
            let id = &deployment.id;
            return Err(UsageError::new(format!(
                "{id} has no host; name the address of its listener with --at HOST:PORT"
            ))
            .into());
        };
        return Ok((vec![InspectedEndpoint::without_name(at)?], Vec::new()));
    }
    // A wildcard has no address of its own.
    let (left_out, mut hosts): (Vec<_>, Vec<_>) =
        deployment.hosts.iter().partition(|host| args.at.is_none() && host.starts_with('*'));
    let above = hosts.split_off(hosts.len().min(inspected_endpoint::HOSTS_MAX));
    let endpoints = hosts.into_iter().map(of_host).collect::<Result<_, _>>()?;
    Ok((endpoints, left_out.into_iter().chain(above).cloned().collect()))
}
