use std::{collections::BTreeSet, fmt::Write as _, process::ExitCode};

use crate::{
    api_types::{DeviceSummaryAnswer, OfferAnswer},
    cli::ConnectArgs,
    client::Client,
    commands::{deployment_id, silent_nodes},
    output::{self, plain},
    style::Style,
    table::TextTable,
};

pub(super) async fn run(id: &str, days: u32, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let id = deployment_id(id)?;
    let path = ["deployments", id.as_str(), "devices", "summary"];
    let answer = Client::new(connect)?.get_where(&path, &format!("days={days}")).await?;
    let summary: DeviceSummaryAnswer = serde_json::from_value(answer.clone())?;
    silent_nodes::note(&summary.silent_nodes, "their sessions are not counted");
    if connect.json {
        output::say_json(&answer)?;
    } else {
        output::say(&text(&summary, Style::of_stdout()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(summary: &DeviceSummaryAnswer, style: Style) -> String {
    let mut text = format!("sessions now   {}\nknown devices  {}", summary.sessions, summary.known);
    // Writing to a String cannot fail.
    if summary.not_recorded > 0 {
        let _ = write!(text, "\nnot recorded   {} (docs/devices.md has the bounds)", summary.not_recorded);
    }
    let hosts =
        summary.hosts.iter().map(|host| format!("{} ({})", plain(&host.host), plain(&host.last_seen_at)));
    let hosts: Vec<String> = hosts.collect();
    let hosts = if hosts.is_empty() { "-".to_owned() } else { hosts.join("\n               ") };
    let _ = write!(text, "\nhosts in use   {hosts}");
    match summary.offers.is_empty() {
        true => text.push_str("\n\nWhat devices offer is known once the hour of their session is over."),
        false => {
            let _ = write!(text, "\n\n{}", table(&summary.offers).styled(style));
        }
    }
    text
}

fn table(offers: &[OfferAnswer]) -> TextTable {
    let mut table = TextTable::new([
        "DAY", "SHARE", "SESSIONS", "NETWORKS", "TLS", "VERIFIES", "GROUPS", "RECORD", "SNI",
    ]);
    for offer in offers {
        let record = offer.record_bytes.map(|bytes| bytes.to_string()).unwrap_or_default();
        table.row([
            &offer.day,
            &format!("{:.1} %", offer.share * 100.0),
            &offer.sessions.to_string(),
            &offer.networks.to_string(),
            &offer.versions.join(" "),
            &key_kinds(&offer.signature_schemes),
            &offer.groups.join(" "),
            &record,
            if offer.server_name { "yes" } else { "no" },
        ]);
    }
    table
}

/// The kinds of keys that a server's signature may be of: many schemes are one kind.
fn key_kinds(schemes: &[String]) -> String {
    let kind = |scheme: &String| {
        Some(match scheme.as_str() {
            "ecdsa_secp256r1_sha256" => "P-256",
            "ecdsa_secp384r1_sha384" => "P-384",
            "ecdsa_secp521r1_sha512" => "P-521",
            "ed25519" => "Ed25519",
            scheme if scheme.starts_with("rsa_") => "RSA",
            _ => return None,
        })
    };
    schemes.iter().filter_map(kind).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_summary_has_counts_hosts_and_what_devices_verify() {
        let summary: DeviceSummaryAnswer = serde_json::from_value(json!({
            "sessions": 12, "known": 3, "notRecorded": 5,
            "hosts": [{"host": "a.example", "lastSeenAt": "2034-04-11 02:00:00"},
                      {"host": "b.example", "lastSeenAt": "2034-04-11 03:00:00"}],
            "offers": [
                {"day": "2034-04-11", "share": 0.9, "sessions": 11, "networks": 4, "versions": ["1.2", "1.3"],
                 "signatureSchemes": ["rsa_pkcs1_sha256", "ecdsa_secp256r1_sha256", "rsa_pss_rsae_sha256", "ed448"],
                 "groups": ["secp256r1", "x25519"], "serverName": true},
                {"day": "2034-04-11", "share": 0.1, "sessions": 1, "networks": 1, "versions": ["1.2"],
                 "signatureSchemes": ["rsa_pkcs1_sha256"], "groups": ["secp256r1"], "recordBytes": 512,
                 "serverName": false}]
        }))
        .unwrap();
        assert_eq!(
            text(&summary, Style::Plain),
            "sessions now   12\nknown devices  3\nnot recorded   5 (docs/devices.md has the bounds)\n\
             hosts in use   a.example (2034-04-11 02:00:00)\n               b.example (2034-04-11 03:00:00)\n\n\
             DAY         SHARE   SESSIONS  NETWORKS  TLS      VERIFIES   GROUPS            RECORD  SNI\n\
             2034-04-11  90.0 %  11        4         1.2 1.3  P-256 RSA  secp256r1 x25519  -       yes\n\
             2034-04-11  10.0 %  1         1         1.2      RSA        secp256r1         512     no"
        );
        let nothing = text(&DeviceSummaryAnswer::default(), Style::Plain);
        assert!(
            nothing.starts_with("sessions now   0\nknown devices  0\nhosts in use   -\n\nWhat devices"),
            "{nothing}"
        );
    }
}
