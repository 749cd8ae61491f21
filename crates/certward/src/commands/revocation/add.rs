use std::process::ExitCode;

use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::{
    api_types::{AddedRevocationsAnswer, RevocationAnswer, RevocationMatchesAnswer},
    cli::{CloseRateArg, RevocationAddArgs},
    client::Client,
    commands::{
        deployment_id,
        paced_close::{self, ClosedCount},
        silent_nodes,
    },
    input,
    output::{self, plain},
    usage::UsageError,
    wording::UploadFiles,
};

use super::device_certificate::device_certificate;

pub(super) async fn run(args: &RevocationAddArgs) -> anyhow::Result<ExitCode> {
    let id = deployment_id(&args.id)?;
    let mut files = UploadFiles::default();
    let body = json!({"revocations": entries(args, &mut files)?});
    let path = ["deployments", id.as_str(), "tls", "revocations"];
    let query = CloseRateArg::query(args.rate);
    let client = Client::new(&args.connect)?;
    paced_close::announce(args.rate, ClosedCount::up_to_now(args.rate, &client, &id).await);
    let answer = client.change_at(Method::POST, &path, &query, &body, false).await;
    let answer = answer.map_err(|error| error.with_files(&files))?;
    let added: AddedRevocationsAnswer = serde_json::from_value(answer.clone())?;
    silent_nodes::note(&added.silent_nodes, "what is revoked may still be served there");
    silent_nodes::note(&added.matches.not_counted, "its sessions are not counted here");
    if !added.in_effect {
        output::note(&format!(
            "certward: devices of {id} are not asked for certificates now; this takes effect once it is two-way"
        ));
    }
    if added.matches.known == 0 && added.matches.connected == Some(0) {
        output::note(&format!(
            "certward: no known device matches; compare with `certward devices {id} --csv`"
        ));
    }
    if args.connect.json {
        output::say_json(&answer)?;
    } else {
        output::say(&report(&added, args.rate))?;
    }
    Ok(if added.silent_nodes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// As the API takes them; `files` gets the file of each that has one.
fn entries(args: &RevocationAddArgs, files: &mut UploadFiles) -> Result<Vec<Value>, UsageError> {
    let mut entries = Vec::new();
    let mut add = |field: &str, value: String| {
        let mut entry = Map::new();
        entry.insert(field.to_owned(), value.into());
        let shared = [("issuer", &args.issuer), ("reason", &args.reason)];
        let given =
            shared.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value.clone()?.into())));
        entry.extend(given);
        entries.push(Value::Object(entry));
    };
    for file in &args.cert {
        let text = input::read_text(file)?;
        add("certificate", device_certificate(file, &text)?.to_owned());
        files.add_item("certificate", file);
    }
    for (field, values) in
        [("fingerprint", &args.fingerprint), ("serial", &args.serial), ("name", &args.name)]
    {
        values.iter().for_each(|value| add(field, value.clone()));
    }
    Ok(entries)
}

fn report(added: &AddedRevocationsAnswer, rate: Option<CloseRateArg>) -> String {
    let mut lines: Vec<String> = added.revocations.iter().map(line).collect();
    lines.push(matches(&added.matches, rate));
    lines.join("\n")
}

fn line(revocation: &RevocationAnswer) -> String {
    let verb = if revocation.existing { "Revoked before" } else { "Revoked" };
    format!("{verb}: {} (revocation {})", plain(&revocation.what()), plain(&revocation.id))
}

/// Such as `Closed: 1 session. Known: 1 device.`
fn matches(
    RevocationMatchesAnswer { known, connected, .. }: &RevocationMatchesAnswer,
    rate: Option<CloseRateArg>,
) -> String {
    let devices = counted(*known, "device");
    let Some(connected) = *connected else {
        return format!("Known: {devices}. No node with a gateway runs.");
    };
    let sessions = counted(connected, "session");
    match rate.filter(|_| connected > 0) {
        None => format!("Closed: {sessions}. Known: {devices}."),
        Some(rate) => format!(
            "Closing at {rate}: {sessions}, in {} s. Known: {devices}.",
            rate.time_for(connected).as_secs()
        ),
    }
}

fn counted(count: u64, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_revoked_is_said_with_whom_it_concerns() {
        let added: AddedRevocationsAnswer = serde_json::from_value(json!({"revocations": [
            {"id": "01", "by": "certificate", "issuer": "CN=Meters", "serial": "0a", "fingerprint": "9f86"},
            {"id": "02", "by": "name", "name": "meter-8\u{1b}", "existing": true},
        ], "matches": {"known": 1, "connected": 2}, "inEffect": true}))
        .unwrap();
        assert_eq!(
            report(&added, None),
            "Revoked: the certificate of CN=Meters with the serial number 0a (revocation 01)\n\
             Revoked before: the name meter-8\\u{1b} (revocation 02)\n\
             Closed: 2 sessions. Known: 1 device."
        );
        let text = |known: u64, connected: Option<u64>, rate: Option<&str>| {
            let found = RevocationMatchesAnswer { known, connected, not_counted: Vec::new() };
            matches(&found, rate.map(|rate| CloseRateArg::parse(rate).unwrap()))
        };
        assert_eq!(
            text(100, Some(101), Some("50/s")),
            "Closing at 50/s: 101 sessions, in 3 s. Known: 100 devices."
        );
        assert_eq!(text(0, Some(0), Some("50/s")), "Closed: 0 sessions. Known: 0 devices.");
        assert_eq!(text(2, None, None), "Known: 2 devices. No node with a gateway runs.");
    }
}
