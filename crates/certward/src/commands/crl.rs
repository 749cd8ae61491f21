mod list;
mod remove;
mod set;
mod sheet;

use std::process::ExitCode;

use anyhow::anyhow;
use certward_store::{CrlId, DeploymentId};

use super::{deployment_id, wrong_id};
use crate::{
    cli::{ConnectArgs, CrlCommand},
    client::{Client, ClientError},
    output,
    usage::UsageError,
};

pub(super) async fn run(command: CrlCommand) -> anyhow::Result<ExitCode> {
    match command {
        CrlCommand::Set(args) => set::run(&args).await,
        CrlCommand::List { id, connect } => list::run(&id, &connect).await,
        CrlCommand::Show { id, crl, connect } => show(&id, &crl, &connect).await,
        CrlCommand::Remove { id, crl, connect } => remove::run(&id, &crl, &connect).await,
    }
}

async fn show(id: &str, crl: &str, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let (id, crl) = (deployment_id(id)?, crl_id(crl)?);
    let path = ["deployments", id.as_str(), "tls", "crls", crl.as_str()];
    let answer = Client::new(connect)?.get(&path).await.map_err(|error| named(error, &id, &crl))?;
    if connect.json {
        output::say_json(&answer)?;
    } else {
        output::say(&sheet::text(&serde_json::from_value(answer)?))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn crl_id(text: &str) -> Result<CrlId, UsageError> {
    CrlId::parse(text).map_err(|rule| wrong_id("CRL", text, rule))
}

/// With the command that lists those that there are.
fn named(error: ClientError, id: &DeploymentId, crl: &CrlId) -> anyhow::Error {
    match error.is_code("CRL_NOT_FOUND") {
        true => anyhow!("{id} has no CRL {crl}; `certward crl list {id}` lists them"),
        false => error.into(),
    }
}
