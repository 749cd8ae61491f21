//! `tls erase-version`.

use std::process::ExitCode;

use reqwest::Method;

use super::versions;
use crate::{
    api_types::VersionAnswer,
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
    // It is done: what is not known is not said.
    if let Ok(answer) = versions::get(&client, &id).await {
        let kept: Vec<VersionAnswer> = serde_json::from_value(answer).unwrap_or_default();
        let others = with_the_key_of(version, &kept);
        if !others.is_empty() {
            output::note(&format!(
                "certward: the same key is still kept with other versions of {id}: {}. Erase it there too; \
                 the newest version's only after another certificate is set",
                others.join(", ")
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The others whose key is not erased.
fn with_the_key_of(erased: i64, kept: &[VersionAnswer]) -> Vec<String> {
    let Some(erased) = kept.iter().find(|version| version.version == erased) else { return Vec::new() };
    let others = kept.iter().filter(|version| {
        version.key_fingerprint == erased.key_fingerprint
            && version.status != "erased"
            && version.version != erased.version
    });
    others.map(|version| version.version.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_versions_of_the_key_are_named_unless_they_are_erased() {
        let version = |version: i64, status: &str, key: &str| VersionAnswer {
            version,
            status: status.to_owned(),
            key_fingerprint: key.to_owned(),
            ..VersionAnswer::default()
        };
        let kept = [
            version(9, "running", "b"),
            version(8, "superseded", "a"),
            version(7, "rolledBack", "a"),
            version(6, "erased", "a"),
            version(4, "erased", "a"),
        ];
        assert_eq!(with_the_key_of(4, &kept), ["8", "7"]);
        assert!(with_the_key_of(9, &kept).is_empty() && with_the_key_of(5, &kept).is_empty());
    }
}
