use std::process::ExitCode;

use certward_store::{Clock, DeploymentId, SystemClock};
use serde_json::Value;

use super::client_cas;
use crate::{
    api_types::DeviceAnswer,
    cli::ConnectArgs,
    client::{Client, ClientError},
    commands::{
        deployment_id,
        devices::list::{MISSING, PAGE, print_csv, table},
        silent_nodes,
    },
    output::{self, plain},
    style::Style,
};

pub(super) async fn run(
    id: &str,
    fingerprint: &str,
    as_csv: bool,
    connect: &ConnectArgs,
) -> anyhow::Result<ExitCode> {
    let id = deployment_id(id)?;
    let client = Client::new(connect)?;
    let ca = client_cas::find(&client, &id, fingerprint).await?;
    if as_csv {
        return print_csv(&client, &path(&id, &ca.fingerprint)).await;
    }
    let found = read(&client, &id, &ca.fingerprint).await?;
    if connect.json {
        output::say_json(&found)?;
    } else if found.is_empty() {
        output::say(&format!("No known device of {id} needs the client CA {}.", plain(&ca.subject)))?;
    } else {
        let devices: Vec<DeviceAnswer> = serde_json::from_value(found.into())?;
        output::say(&table(&devices, SystemClock.now()).styled(Style::of_stdout()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// All pages.
pub(super) async fn read(
    client: &Client,
    id: &DeploymentId,
    fingerprint: &str,
) -> Result<Vec<Value>, ClientError> {
    let (found, silent) = client.pages_of_nodes(&path(id, fingerprint), PAGE).await?;
    silent_nodes::note(&silent, MISSING);
    Ok(found)
}

fn path<'a>(id: &'a DeploymentId, fingerprint: &'a str) -> [&'a str; 6] {
    ["deployments", id.as_str(), "tls", "client-cas", fingerprint, "stragglers"]
}
