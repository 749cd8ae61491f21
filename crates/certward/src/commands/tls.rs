pub(super) mod accepted;
mod certificate_sheet;
mod diff;
mod erase_version;
mod rollback;
pub(super) mod severe_impact;
mod upload;
mod versions;

use std::process::ExitCode;

use anyhow::{Context, bail};
use certward_store::{Clock, SystemClock, Timestamp};
use reqwest::Method;

use self::{certificate_sheet::print, rollback::RollbackMode};
use super::{
    deployment_id,
    paced_close::{self, ClosedCount},
    question::{self, Disconnected},
    silent_nodes,
    wait::{WaitReport, Waited, until_settled},
};
use crate::{
    api_time,
    api_types::{ClientCertificateAnswer, FailureAnswer},
    cli::{CloseRateArg, ConnectArgs, TlsCommand},
    client::Client,
    output,
    table::TextTable,
    wording::Typed,
};

pub(super) async fn run(command: TlsCommand) -> anyhow::Result<ExitCode> {
    match command {
        TlsCommand::Show { id, connect } => {
            let id = deployment_id(&id)?;
            let answer = Client::new(&connect)?.get(&["deployments", id.as_str(), "tls"]).await?;
            print(&answer, &Typed::about_what_is_set(id.as_str()), &connect)?;
            Ok(ExitCode::SUCCESS)
        }
        TlsCommand::Failures { id, connect } => failures(&id, &connect).await,
        TlsCommand::Check { id, upload, connect } => upload::check(&id, &upload, &connect).await,
        TlsCommand::Set { id, upload, force, rate, wait, connect } => {
            upload::set(&id, &upload, upload::SetMode { force, rate, wait }, &connect).await
        }
        TlsCommand::Versions { id, connect } => versions::list(&id, &connect).await,
        TlsCommand::Diff { id, from, to, connect } => diff::diff(&id, from, to, &connect).await,
        TlsCommand::Rollback { id, to, yes, force, rate, wait, connect } => {
            let mode = RollbackMode { yes, force, rate, wait };
            rollback::roll_back(&id, to, mode, &connect).await
        }
        TlsCommand::EraseVersion { id, number, yes, connect } => {
            erase_version::erase(&id, number, yes, &connect).await
        }
        TlsCommand::Delete { id, yes, rate, wait, connect } => delete(&id, yes, rate, wait, &connect).await,
    }
}

async fn failures(id: &str, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let id = deployment_id(id)?;
    let path = ["deployments", id.as_str(), "tls", "failures"];
    let (answer, silent) = Client::new(connect)?.get_of_nodes(&path).await?;
    silent_nodes::note(&silent, "their failures are missing here");
    if connect.json {
        output::say_json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let failures: Vec<FailureAnswer> = serde_json::from_value(answer)?;
    output::say(&list(&failures, SystemClock.now()))?;
    Ok(ExitCode::SUCCESS)
}

/// The certificate follows its failure on lines of its own: in columns it would be too wide.
fn list(failures: &[FailureAnswer], now: Timestamp) -> String {
    let is_of_several = failures.windows(2).any(|pair| pair[0].node != pair[1].node);
    let table = if is_of_several { table_with_nodes(failures) } else { table(failures) }.text();
    let mut rows = table.lines().map(str::to_owned);
    let mut lines: Vec<String> = rows.next().into_iter().collect();
    for (failure, row) in failures.iter().zip(rows) {
        lines.push(row);
        if let Some(certificate) = &failure.client_certificate {
            lines.extend(certificate_lines(certificate, now));
        }
    }
    lines.join("\n")
}

fn table(failures: &[FailureAnswer]) -> TextTable {
    let mut table = TextTable::new(["at (UTC)", "address", "server name", "tls", "cause", "what to do"]);
    for failure in failures {
        let FailureAnswer { at, address, server_name, tls_version, remedy, .. } = failure;
        table.row([at, address, server_name, tls_version, &failure.what(), remedy]);
    }
    table
}

fn table_with_nodes(failures: &[FailureAnswer]) -> TextTable {
    let mut table =
        TextTable::new(["at (UTC)", "node", "address", "server name", "tls", "cause", "what to do"]);
    for failure in failures {
        let FailureAnswer { at, node, address, server_name, tls_version, remedy, .. } = failure;
        table.row([at, node, address, server_name, tls_version, &failure.what(), remedy]);
    }
    table
}

fn certificate_lines(certificate: &ClientCertificateAnswer, now: Timestamp) -> Vec<String> {
    let ClientCertificateAnswer { subject, issuer, serial, not_after, fingerprint } = certificate;
    let ends = not_after.as_deref().map(|end| api_time::end_with_words(end, now));
    let facts = [
        ("subject", subject.as_deref()),
        ("issuer", issuer.as_deref()),
        ("serial", serial.as_deref()),
        ("ends", ends.as_deref()),
        ("sha256", Some(fingerprint.as_str())),
    ];
    let facts = facts.into_iter().filter_map(|(name, fact)| Some((name, fact?)));
    facts.map(|(name, fact)| format!("    {name:<8} {}", output::plain(fact))).collect()
}

async fn delete(
    id: &str,
    yes: bool,
    rate: Option<CloseRateArg>,
    wait: bool,
    connect: &ConnectArgs,
) -> anyhow::Result<ExitCode> {
    let id = deployment_id(id)?;
    let client = Client::new(connect)?;
    let path = ["deployments", id.as_str(), "tls"];
    let change = format!("deletes the certificate of {id} and erases its keys");
    let sessions = paced_close::sessions_now(rate, &client, &id).await;
    paced_close::announce(rate, sessions.map_or(ClosedCount::Unknown, ClosedCount::Exactly));
    question::ask_before(&change, Disconnected::All, &id, yes, &client).await?;
    client.change_where(Method::DELETE, &path, &CloseRateArg::query(rate)).await?;
    let closing = rate.map(|rate| rate.time_for(sessions.unwrap_or_default())).unwrap_or_default();
    let gone = "the keys are erased, but whether every node has let go cannot be waited for";
    if wait
        && matches!(
            until_settled(&client, &path, closing, &mut WaitReport::default()).await.context(gone)?,
            Waited::Unsettled
        )
    {
        bail!(
            "the keys of {id} are erased, but not every node has removed the certificate yet; `certward tls show {id}` shows how it goes on"
        );
    }
    if !connect.json {
        output::say(&format!("Deleted the certificate of {id}; its keys are erased."))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_certificate_follows_its_failure() {
        let certificate = ClientCertificateAnswer {
            subject: Some("CN=meter-7".to_owned()),
            issuer: Some("CN=Meters".to_owned()),
            serial: Some("0a1b".to_owned()),
            not_after: Some("2034-04-10 23:43:20".to_owned()),
            fingerprint: "9f86".to_owned(),
        };
        let unreadable =
            ClientCertificateAnswer { fingerprint: "ab\n".to_owned(), ..ClientCertificateAnswer::default() };
        let failures = [Some(certificate), None, Some(unreadable)].map(|client_certificate| FailureAnswer {
            at: "2034-04-11 02:00:00".to_owned(),
            cause: "certificate_expired".to_owned(),
            client_certificate,
            ..FailureAnswer::default()
        });
        let now = Timestamp::from_time(datetime!(2034-04-11 02:43:20 UTC));
        let shown = list(&failures, now);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[0].starts_with("at (UTC)"), "{shown}");
        assert!([1, 7, 8].iter().all(|at| lines[*at].starts_with("2034-04-11")), "{shown}");
        assert_eq!(
            [&lines[2..7], &lines[9..]].concat(),
            [
                "    subject  CN=meter-7",
                "    issuer   CN=Meters",
                "    serial   0a1b",
                "    ends     2034-04-10 23:43:20 (expired 3 hours ago)",
                "    sha256   9f86",
                "    sha256   ab\\u{a}",
            ]
        );
    }

    #[test]
    fn the_node_is_shown_where_there_are_several() {
        let failure = |node: &str| FailureAnswer {
            at: "2034-04-11 02:00:00".to_owned(),
            node: node.to_owned(),
            address: "192.0.2.7:1".to_owned(),
            cause: "timeout".to_owned(),
            ..FailureAnswer::default()
        };
        let shown = |nodes: &[&str]| {
            let failures: Vec<_> = nodes.iter().map(|node| failure(node)).collect();
            list(&failures, SystemClock.now())
        };
        assert_eq!(
            shown(&["n1", "n2"]),
            "at (UTC)             node  address      server name  tls  cause    what to do\n\
             2034-04-11 02:00:00  n1    192.0.2.7:1  -            -    timeout  -\n\
             2034-04-11 02:00:00  n2    192.0.2.7:1  -            -    timeout  -"
        );
        assert_eq!(
            shown(&["n1"]),
            "at (UTC)             address      server name  tls  cause    what to do\n\
             2034-04-11 02:00:00  192.0.2.7:1  -            -    timeout  -"
        );
    }
}
