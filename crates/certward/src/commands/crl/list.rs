use std::process::ExitCode;

use certward_store::{Clock, SystemClock, Timestamp};

use crate::{
    api_time,
    api_types::CrlAnswer,
    cli::ConnectArgs,
    client::Client,
    commands::deployment_id,
    output,
    style::{Style, Tone},
    table::TextTable,
};

pub(super) async fn run(id: &str, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let id = deployment_id(id)?;
    let answer = Client::new(connect)?.get(&["deployments", id.as_str(), "tls", "crls"]).await?;
    if connect.json {
        output::say_json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let crls: Vec<CrlAnswer> = serde_json::from_value(answer)?;
    if crls.is_empty() {
        output::say(&format!("{id} has no CRL."))?;
    } else {
        output::say(&table(&crls, SystemClock.now()).styled(Style::of_stdout()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(crls: &[CrlAnswer], now: Timestamp) -> TextTable {
    let mut table =
        TextTable::new(["ID", "ISSUER", "NUMBER", "ENTRIES", "NEXT UPDATE", "STALE", "FETCHED FROM"]);
    for crl in crls {
        let next =
            crl.next_update.as_deref().map(|end| api_time::ends_in_words(end, now)).unwrap_or_default();
        let fetched = match &crl.failure {
            Some(failure) => (format!("{}: {}", crl.url, failure.message), Some(Tone::Bad)),
            None => (crl.url.clone(), None),
        };
        table.toned_row([
            (&crl.id, None),
            (&crl.issuer, None),
            (&crl.number, None),
            (&crl.entries.map(|entries| entries.to_string()).unwrap_or_default(), None),
            (&next, crl.is_stale.then_some(Tone::Bad)),
            (&crl.stale, None),
            (&fetched.0, fetched.1),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn crls_are_listed_with_their_ends_and_failures() {
        let crls: Vec<CrlAnswer> = serde_json::from_value(json!([
            {"id": "meters", "issuer": "CN=Meters", "number": "7", "entries": 3, "nextUpdate": "2034-04-10 03:00:00",
             "stale": "hard", "isStale": true},
            {"id": "valves", "stale": "soft", "isStale": false, "url": "http://pki.example/valves.crl",
             "failure": {"code": "timed_out", "message": "No answer in time.", "since": "2034-04-11 02:00:00"}},
        ]))
        .unwrap();
        let now = Timestamp::from_time(datetime!(2034-04-11 03:00:00 UTC));
        assert_eq!(
            table(&crls, now).text(),
            "ID      ISSUER     NUMBER  ENTRIES  NEXT UPDATE        STALE  FETCHED FROM\n\
             meters  CN=Meters  7       3        expired 1 day ago  hard   -\n\
             valves  -          -       -        -                  soft   http://pki.example/valves.crl: No answer in time."
        );
    }
}
