//! Shows what TLS servers serve: the chain, versions, cipher suites, client certificates.

mod handshake;
mod inspected_endpoint;
mod report;
mod seen_server;
mod trust;

use std::{process::ExitCode, sync::Arc};

use certward_store::{Clock, SystemClock};
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
            let id = deployment_id(&args.target)?;
            let answer = Client::new(&args.connect)?.get(&["deployments", id.as_str()]).await?;
            let answer: DeploymentAnswer = serde_json::from_value(answer)?;
            (endpoints_of(&answer, &args)?, Some(answer))
        }
    };
    let now = SystemClock.now();
    let reports: Vec<EndpointReport> = endpoints
        .iter()
        .map(|endpoint| EndpointReport::of(endpoint, seen_server::look(endpoint, &provider), &trust, now))
        .collect();
    let deployment = deployment.map(|answer| DeploymentReport::of(&answer, &reports));
    if args.connect.json {
        output::say_json(&report::json(deployment.as_ref(), &reports))?;
    } else {
        output::say(&report::text(deployment.as_ref(), &reports, Style::of_stdout()))?;
    }
    let is_seen = reports.iter().all(EndpointReport::is_seen);
    let is_newest = deployment.is_none_or(|deployment| deployment.is_newest_served());
    Ok(if is_seen && is_newest { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn endpoints_of(deployment: &DeploymentAnswer, args: &InspectArgs) -> anyhow::Result<Vec<InspectedEndpoint>> {
    if let Some(name) = &args.server_name {
        return Ok(vec![InspectedEndpoint::of_host(name, args.at.as_deref())?]);
    }
    if deployment.hosts.is_empty() {
        let Some(at) = &args.at else {
            let id = &deployment.id;
            return Err(UsageError::new(format!(
                "{id} has no host; name the address of its listener with --at HOST:PORT"
            ))
            .into());
        };
        return Ok(vec![InspectedEndpoint::without_name(at)?]);
    }
    let hosts = deployment.hosts.iter().take(inspected_endpoint::HOSTS_MAX);
    Ok(hosts.map(|host| InspectedEndpoint::of_host(host, args.at.as_deref())).collect::<Result<_, _>>()?)
}
