mod attention;

use std::{collections::HashMap, process::ExitCode};

use certward_store::{Clock, SystemClock, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use self::attention::Attention;
use crate::{
    api_time,
    api_types::{CrlAnswer, DeploymentAnswer, EndingAnswer},
    cli::ConnectArgs,
    client::{Client, ClientError},
    commands::end_urgency::EndUrgency,
    output,
    style::{Style, Tone},
    table::TextTable,
};

pub(super) async fn run(connect: ConnectArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(&connect)?;
    let deployments: Vec<Value> = serde_json::from_value(client.get(&["deployments"]).await?)?;
    let endings = client.pages(&["expiring"], "within=30d&limit=1000").await?;
    let endings: Vec<EndingAnswer> = serde_json::from_value(endings.into())?;
    let now = SystemClock.now();
    let crls = crls_of(&client, &endings, now).await?;
    let lines = sorted(deployments, &endings, &crls, now)?;
    if connect.json {
        output::say_json(&lines.into_iter().map(|line| line.answer).collect::<Vec<_>>())?;
    } else {
        output::say(&report(&lines, now, Style::of_stdout()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// By deployment; of those with a CRL that has ended, as only its policy says what that means. Of
/// those that the API's limit leaves out, only the end is known.
async fn crls_of(
    client: &Client,
    endings: &[EndingAnswer],
    now: Timestamp,
) -> anyhow::Result<HashMap<String, Vec<CrlAnswer>>> {
    let is_stale =
        |ending: &&EndingAnswer| ending.kind == "crl" && EndUrgency::of(ending, now) == EndUrgency::Expired;
    let mut crls = HashMap::new();
    for id in endings.iter().filter(is_stale).filter_map(|ending| ending.deployment_id.as_deref()) {
        if crls.contains_key(id) {
            continue;
        }
        let found = match client.get(&["deployments", id, "tls", "crls"]).await {
            Ok(found) => serde_json::from_value(found)?,
            Err(error @ ClientError::Refused { .. }) if error.retry_after().is_some() => break,
            // Deleted since, or not for this key.
            Err(ClientError::Refused { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        crls.insert(id.to_owned(), found);
    }
    Ok(crls)
}

struct StatusLine {
    answer: Value,
    deployment: DeploymentAnswer,
    attention: Attention,
}

fn sorted(
    deployments: Vec<Value>,
    endings: &[EndingAnswer],
    crls: &HashMap<String, Vec<CrlAnswer>>,
    now: Timestamp,
) -> serde_json::Result<Vec<StatusLine>> {
    let mut of_deployments = HashMap::<&str, Vec<&EndingAnswer>>::new();
    for ending in endings {
        if let Some(id) = &ending.deployment_id {
            of_deployments.entry(id).or_default().push(ending);
        }
    }
    let mut lines = Vec::with_capacity(deployments.len());
    for answer in deployments {
        let deployment = DeploymentAnswer::deserialize(&answer)?;
        let endings = of_deployments.get(deployment.id.as_str()).map_or(&[][..], Vec::as_slice);
        let crls = crls.get(&deployment.id).map_or(&[][..], Vec::as_slice);
        let attention = Attention::of(&deployment, endings, crls, now);
        lines.push(StatusLine { answer, deployment, attention });
    }
    // Stable: otherwise by project and id, as the API lists them.
    lines.sort_by_key(|line| line.attention.key());
    Ok(lines)
}

fn report(lines: &[StatusLine], now: Timestamp, style: Style) -> String {
    if lines.is_empty() {
        return "No deployments. `certward deployment add` adds one.".to_owned();
    }
    let mut table = TextTable::new(["ID", "CERTIFICATE", "ENDS", "CONNECTED", "LAST FAILURE", "ATTENTION"]);
    for StatusLine { deployment, attention, .. } in lines {
        let tls = deployment.tls.as_ref();
        let expire = tls.and_then(|tls| tls.expire.as_deref());
        let failure = deployment.last_failure.as_ref();
        let failure =
            failure.map(|failure| format!("{}, {}", failure.cause, api_time::ago(&failure.at, now)));
        let tone = attention.tone();
        table.toned_row([
            (&deployment.id, None),
            (tls.and_then(|tls| tls.status.as_deref()).unwrap_or("none"), None),
            (&expire.map(|expire| api_time::ends_in_words(expire, now)).unwrap_or_default(), None),
            (&deployment.connected.to_string(), None),
            (&failure.unwrap_or_default(), None),
            (attention.reason(), tone),
        ]);
    }
    format!("{}\n\n{}", summary(lines, style), table.styled(style))
}

/// Such as `3 deployments: 1 needs attention`.
fn summary(lines: &[StatusLine], style: Style) -> String {
    let count = lines.iter().filter(|line| line.attention.is_needed()).count();
    let (tone, text) = match count {
        0 => (Tone::Good, "none needs attention".to_owned()),
        1 => (Tone::Bad, "1 needs attention".to_owned()),
        count => (Tone::Bad, format!("{count} need attention")),
    };
    let s = if lines.len() == 1 { "" } else { "s" };
    format!("{} deployment{s}: {}", lines.len(), style.paint(tone, &text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_time(datetime!(2034-04-11 12:00:00 UTC))
    }

    fn leaf(id: &str, begin: &str, expire: &str) -> Value {
        json!({"kind": "leaf", "deploymentID": id, "begin": begin, "expire": expire})
    }

    fn deployment(id: &str, status: &str, expire: &str) -> Value {
        json!({"deploymentID": id, "connected": 1, "tls": {"status": status, "expire": expire}})
    }

    fn lines(deployments: &[Value], endings: &[Value]) -> Vec<StatusLine> {
        let endings: Vec<EndingAnswer> = serde_json::from_value(json!(endings)).unwrap();
        sorted(deployments.to_vec(), &endings, &HashMap::new(), now()).unwrap()
    }

    #[test]
    fn what_needs_attention_first_stands_first() {
        let mut failing = deployment("failing", "running", "2035-01-01 00:00:00");
        failing["lastFailure"] = json!({"at": "2034-04-11 11:55:00", "cause": "certificate_required"});
        let mut quiet = deployment("quiet", "running", "2034-12-01 00:00:00");
        quiet["lastFailure"] = json!({"at": "2034-04-11 10:59:00", "cause": "closed"});
        let mut failed = deployment("failed", "failed", "2035-01-01 00:00:00");
        failed["tls"]["reason"] = "Another certificate is served.".into();
        let deployments = [
            json!({"deploymentID": "bare", "connected": 0}),
            quiet,
            failing,
            deployment("later", "running", "2034-05-01 00:00:00"),
            deployment("pending", "pending", "2035-01-01 00:00:00"),
            deployment("soon", "running", "2034-04-13 12:00:00"),
            failed,
            deployment("old", "running", "2034-04-11 09:00:00"),
            deployment("older", "failed", "2034-04-01 12:00:00"),
        ];
        let endings = [
            leaf("older", "2034-01-01 00:00:00", "2034-04-01 12:00:00"),
            leaf("old", "2034-01-01 00:00:00", "2034-04-11 09:00:00"),
            leaf("soon", "2034-01-13 12:00:00", "2034-04-13 12:00:00"),
            // Twenty of thirty days are left.
            leaf("later", "2034-04-01 00:00:00", "2034-05-01 00:00:00"),
        ];
        let lines = lines(&deployments, &endings);
        assert_eq!(
            report(&lines, now(), Style::Plain),
            "9 deployments: 4 need attention\n\n\
             ID       CERTIFICATE  ENDS                 CONNECTED  LAST FAILURE                         ATTENTION\n\
             older    failed       expired 10 days ago  1          -                                    expired\n\
             old      running      expired 3 hours ago  1          -                                    expired\n\
             failed   failed       in 264 days          1          -                                    failed: Another certificate is served.\n\
             soon     running      in 2 days            1          -                                    ends soon\n\
             pending  pending      in 264 days          1          -                                    pending\n\
             failing  running      in 264 days          1          certificate_required, 5 minutes ago  failed handshakes\n\
             later    running      in 19 days           1          -                                    -\n\
             quiet    running      in 233 days          1          closed, 61 minutes ago               -\n\
             bare     none         -                    0          -                                    no certificate"
        );
        let coloured = report(&lines, now(), Style::Coloured);
        for painted in ["\u{1b}[1;31m4 need attention", "\u{1b}[1;31mexpired\u{1b}", "\u{1b}[1;33mends soon"]
        {
            assert!(coloured.contains(painted), "{coloured:?}");
        }
    }

    #[test]
    fn the_summary_counts() {
        let well = deployment("a", "running", "2035-01-01 00:00:00");
        let old = deployment("b", "running", "2034-04-01 00:00:00");
        for (deployments, text) in [
            (vec![well.clone()], "1 deployment: none needs attention"),
            (vec![well, old], "2 deployments: 1 needs attention"),
        ] {
            assert_eq!(summary(&lines(&deployments, &[]), Style::Plain), text);
        }
        assert!(report(&[], now(), Style::Plain).contains("certward deployment add"));
    }
}
