//! `tls erase-version`.

use std::process::ExitCode;

use reqwest::Method;

use crate::{
    cli::ConnectArgs,
    client::Client,
    commands::{deployment_id, question},
    output,
};

pub(super) async fn erase(
    id: &str,
    version: i64,
    yes: bool,
    connect: &ConnectArgs,
) -> anyhow::Result<ExitCode> {
    let id = deployment_id(id)?;
    let client = Client::new(connect)?;
    question::ask(
        &format!(
            "This erases the private key of version {version} of {id} for good: no rollback leads to it any more"
        ),
        yes,
    )?;
    let path = ["deployments", id.as_str(), "tls", "versions", &version.to_string()];
    client.change(Method::DELETE, &path, None).await?;
    if !connect.json {
        output::say(&format!("Erased the private key of version {version} of {id}."))?;
    }
    Ok(ExitCode::SUCCESS)
}
