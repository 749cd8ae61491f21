//! `tls versions`, and what other commands read of it.

use std::process::ExitCode;

use anyhow::anyhow;
use certward_store::{Clock, DeploymentId, SystemClock, Timestamp};
use serde_json::Value;

use crate::{
    api_time,
    api_types::VersionAnswer,
    cli::ConnectArgs,
    client::{Client, ClientError},
    commands::deployment_id,
    output,
    table::TextTable,
};

pub(super) async fn list(id: &str, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let id = deployment_id(id)?;
    let answer = get(&Client::new(connect)?, &id).await?;
    if connect.json {
        output::say_json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let versions: Vec<VersionAnswer> = serde_json::from_value(answer)?;
    match versions.is_empty() {
        true => output::say("No certificate was set yet.")?,
        false => output::say(&table(&versions, SystemClock.now()))?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn get(client: &Client, id: &DeploymentId) -> Result<Value, ClientError> {
    client.get(&["deployments", id.as_str(), "tls", "versions"]).await
}

/// # Errors
/// If it is not kept, with how to list those that are.
pub(super) fn find<'a>(
    versions: &'a [VersionAnswer],
    wanted: i64,
    id: &DeploymentId,
) -> anyhow::Result<&'a VersionAnswer> {
    versions.iter().find(|version| version.version == wanted).ok_or_else(|| {
        anyhow!("version {wanted} of {id} does not exist, or is not kept any more; `certward tls versions {id}` lists those that are kept")
    })
}

fn table(versions: &[VersionAnswer], now: Timestamp) -> String {
    let mut table =
        TextTable::new(["VERSION", "STATUS", "ACCEPTED (UTC)", "BY", "TYPE", "CN", "ISSUER", "ENDS"]);
    for version in versions {
        let VersionAnswer { status, accepted_at, accepted_by, tls_type, cn, issuer, not_after, .. } = version;
        table.row([
            &version.version.to_string(),
            &match version.restores {
                Some(restored) => format!("{status}, restores {restored}"),
                None => status.clone(),
            },
            accepted_at,
            accepted_by.as_deref().unwrap_or_default(),
            tls_type,
            cn.as_deref().unwrap_or_default(),
            issuer,
            &api_time::ends_in_words(not_after, now),
        ]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_table_says_what_is_there_and_what_a_rollback_restores() {
        let versions: Vec<VersionAnswer> = serde_json::from_value(json!([
            {"version": 9, "status": "running", "restores": 4, "acceptedAt": "2034-04-11 02:00:00",
             "acceptedBy": "abcd", "tlsType": "two-way", "cn": "a.example", "issuer": "CN=CA",
             "notAfter": "2034-05-22 02:43:21"},
            {"version": 4, "status": "superseded", "acceptedAt": "2034-04-10 02:00:00", "tlsType": "one-way",
             "issuer": "CN=\u{1b}", "notAfter": "2034-04-10 23:43:20"},
        ]))
        .unwrap();
        let now = Timestamp::from_time(datetime!(2034-04-11 02:43:20 UTC));
        assert_eq!(
            table(&versions, now),
            "VERSION  STATUS               ACCEPTED (UTC)       BY    TYPE     CN         ISSUER     ENDS\n\
             9        running, restores 4  2034-04-11 02:00:00  abcd  two-way  a.example  CN=CA      in 41 days\n\
             4        superseded           2034-04-10 02:00:00  -     one-way  -          CN=\\u{1b}  expired 3 hours ago"
        );
        let error = find(&versions, 5, &DeploymentId::parse("d1").unwrap()).unwrap_err().to_string();
        assert!(error.contains("version 5 of d1") && error.contains("certward tls versions d1"), "{error}");
    }
}
