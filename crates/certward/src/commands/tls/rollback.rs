//! `tls rollback`.

use std::process::ExitCode;

use certward_store::DeploymentId;
use reqwest::Method;
use serde_json::json;

use super::{accepted, versions};
use crate::{
    api_types::VersionAnswer,
    cli::ConnectArgs,
    client::Client,
    commands::{
        deployment_id,
        question::{self, Disconnected},
    },
    wording::Typed,
};

pub(super) async fn roll_back(
    id: &str,
    to: Option<i64>,
    yes: bool,
    wait: bool,
    connect: &ConnectArgs,
) -> anyhow::Result<ExitCode> {
    let id = deployment_id(id)?;
    let client = Client::new(connect)?;
    let to = if question::is_asked(yes) { ask_if_narrower(&client, &id, to).await? } else { to };
    let path = ["deployments", id.as_str(), "tls", "rollback"];
    let typed = Typed::about_a_version(id.as_str());
    let answer = client.change(Method::POST, &path, Some(&json!({ "version": to }))).await;
    let answer = answer.map_err(|error| error.with_files(&typed.files))?;
    accepted::finish(&client, &id, answer, wait, &typed, connect).await
}

/// Returns the version that was asked about, so that no other one is restored. What cannot be read
/// or found is left to the server.
async fn ask_if_narrower(client: &Client, id: &DeploymentId, to: Option<i64>) -> anyhow::Result<Option<i64>> {
    let Ok(answer) = versions::get(client, id).await else { return Ok(to) };
    let kept: Vec<VersionAnswer> = serde_json::from_value(answer)?;
    let Some((newest, target)) = newest_and_target(&kept, to) else { return Ok(to) };
    if target.narrows(newest) {
        let change = format!("goes back to version {} of {id}, with its client CAs", target.version);
        question::ask_before(&change, Disconnected::Untrusted, id, false, client).await?;
    }
    Ok(Some(target.version))
}

/// Of `kept`, newest first. Without `to` as the server chooses: the last one that was running.
fn newest_and_target(kept: &[VersionAnswer], to: Option<i64>) -> Option<(&VersionAnswer, &VersionAnswer)> {
    let (newest, older) = kept.split_first()?;
    let target = match to {
        Some(to) => older.iter().find(|version| version.version == to),
        None => older.iter().find(|version| version.proven),
    };
    Some((newest, target?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_version_it_is_the_last_one_that_was_running() {
        let version =
            |version: i64, proven: bool| VersionAnswer { version, proven, ..VersionAnswer::default() };
        let kept = [version(9, true), version(8, false), version(7, true), version(4, true)];
        for (to, expected) in
            [(None, Some(7)), (Some(8), Some(8)), (Some(4), Some(4)), (Some(9), None), (Some(5), None)]
        {
            let found = newest_and_target(&kept, to).map(|(newest, target)| (newest.version, target.version));
            assert_eq!(found, expected.map(|target| (9, target)), "{to:?}");
        }
        assert!(newest_and_target(&[version(9, true), version(8, false)], None).is_none());
        assert!(newest_and_target(&[], None).is_none());
    }
}
