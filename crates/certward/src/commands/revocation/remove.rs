use std::process::ExitCode;

use anyhow::anyhow;
use certward_store::RevocationId;
use reqwest::Method;

use crate::{cli::ConnectArgs, client::Client, commands::deployment_id, output, usage::UsageError};

pub(super) async fn run(id: &str, revocation: &str, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let id = deployment_id(id)?;
    let revocation = RevocationId::parse(revocation).ok_or_else(|| {
        UsageError::new(format!(
            "{revocation:?} is not a revocation's id: 32 hexadecimal digits, the first column of `certward revocation list {id}`"
        ))
    })?;
    let name = revocation.to_string();
    let path = ["deployments", id.as_str(), "tls", "revocations", &name];
    let removed = Client::new(connect)?.change(Method::DELETE, &path, None).await;
    removed.map_err(|error| match error.is_code("REVOCATION_NOT_FOUND") {
        true => anyhow!("{id} has no revocation {revocation}; `certward revocation list {id}` lists them"),
        false => error.into(),
    })?;
    if !connect.json {
        output::say(&format!(
            "Removed the revocation {revocation}; what it alone refused may connect again."
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
