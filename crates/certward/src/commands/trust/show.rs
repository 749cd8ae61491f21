use std::process::ExitCode;

use certward_store::{Clock, SystemClock, Timestamp};

use super::client_cas::{self, DIGITS_SHOWN};
use crate::{
    api_time,
    api_types::ClientCaAnswer,
    cli::ConnectArgs,
    client::{Client, ListPage},
    commands::{anonymous_nodes, deployment_id, silent_nodes},
    output,
    style::{Style, Tone},
    table::TextTable,
};

pub(super) async fn run(id: &str, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let id = deployment_id(id)?;
    let client = Client::new(connect)?;
    let ListPage { items, silent_nodes, anonymous_nodes, .. } = client_cas::page(&client, &id).await?;
    silent_nodes::note(&silent_nodes, "their sessions are not counted here");
    anonymous_nodes::note(&anonymous_nodes, "the devices that came through them are not counted by day");
    if connect.json {
        output::say_json(&items)?;
        return Ok(ExitCode::SUCCESS);
    }
    let cas: Vec<ClientCaAnswer> = serde_json::from_value(items.into())?;
    if cas.is_empty() {
        output::say(&format!("The certificate of {id} is one-way: it has no client CAs."))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::say(&table(&cas, SystemClock.now()).styled(Style::of_stdout()))?;
    for line in renewals(&cas) {
        output::say(&line)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(cas: &[ClientCaAnswer], now: Timestamp) -> TextTable {
    let mut table = TextTable::new([
        "FINGERPRINT",
        "SUBJECT",
        "ENDS",
        "1 DAY",
        "7 DAYS",
        "30 DAYS",
        "CONNECTED",
        "LAST SEEN",
    ]);
    for ca in cas {
        let has_ended = api_time::parse(&ca.not_after).is_some_and(|end| end <= now);
        let last_seen = ca.last_seen_at.as_deref().map(|at| api_time::ago(at, now)).unwrap_or_default();
        table.toned_row([
            (&shown(&ca.fingerprint), None),
            (&ca.subject, None),
            (&api_time::ends_in_words(&ca.not_after, now), has_ended.then_some(Tone::Bad)),
            (&ca.admitted.last_day.to_string(), None),
            (&ca.admitted.last_7_days.to_string(), None),
            (&ca.admitted.last_30_days.to_string(), None),
            (&ca.connected.to_string(), None),
            (&last_seen, None),
        ]);
    }
    table
}

/// A sentence for each CA with several certificates.
fn renewals(cas: &[ClientCaAnswer]) -> Vec<String> {
    let is_first = |index: usize, ca: &ClientCaAnswer| {
        cas.iter().take(index).all(|before| !ca.same_ca.contains(&before.fingerprint))
    };
    let renewed = cas.iter().enumerate().filter(|(index, ca)| !ca.same_ca.is_empty() && is_first(*index, ca));
    renewed
        .map(|(_, ca)| {
            let others: Vec<String> = ca.same_ca.iter().map(|other| shown(other)).collect();
            format!(
                "{} and {} are certificates of one CA, which was renewed with its key: each admits the same devices.",
                shown(&ca.fingerprint),
                others.join(", ")
            )
        })
        .collect()
}

fn shown(fingerprint: &str) -> String {
    fingerprint.chars().take(DIGITS_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn client_cas_are_shown_with_their_devices() {
        let (a, b, c) = ("0a".repeat(32), "0b".repeat(32), "0c".repeat(32));
        let cas: Vec<ClientCaAnswer> = serde_json::from_value(json!([
            {"fingerprint": a, "subject": "CN=Old", "notAfter": "2034-04-10 03:00:00", "sameCA": [c], "connected": 7,
             "admitted": {"lastDay": 1, "last7Days": 2, "last30Days": 3}, "lastSeenAt": "2034-04-11 02:00:00"},
            {"fingerprint": b, "subject": "CN=New", "notAfter": "2034-05-22 03:00:00"},
            {"fingerprint": c, "subject": "CN=Old", "notAfter": "2034-05-22 03:00:00", "sameCA": [a]},
        ]))
        .unwrap();
        let now = Timestamp::from_time(datetime!(2034-04-11 03:00:00 UTC));
        assert_eq!(
            table(&cas, now).text(),
            "FINGERPRINT       SUBJECT  ENDS               1 DAY  7 DAYS  30 DAYS  CONNECTED  LAST SEEN\n\
             0a0a0a0a0a0a0a0a  CN=Old   expired 1 day ago  1      2       3        7          1 hour ago\n\
             0b0b0b0b0b0b0b0b  CN=New   in 41 days         0      0       0        0          -\n\
             0c0c0c0c0c0c0c0c  CN=Old   in 41 days         0      0       0        0          -"
        );
        assert_eq!(
            renewals(&cas),
            [
                "0a0a0a0a0a0a0a0a and 0c0c0c0c0c0c0c0c are certificates of one CA, which was renewed with its key: each admits the same devices."
            ]
        );
    }
}
