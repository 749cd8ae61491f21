use std::process::ExitCode;

use certward_lifecycle::read_span;
use certward_store::{Clock, SystemClock, Timestamp};
use reqwest::Url;

use crate::{
    api_time,
    api_types::AuditAnswer,
    cli::AuditListArgs,
    client::Client,
    output,
    style::{Style, Tone},
    table::TextTable,
    usage::UsageError,
};

/// Of a fingerprint: enough to recognise one.
const DIGITS_SHOWN: usize = 12;

pub(super) async fn run(args: AuditListArgs) -> anyhow::Result<ExitCode> {
    let query = query(&args, SystemClock.now())?;
    let found = Client::new(&args.connect)?.page(&["audit"], &query).await?;
    if args.connect.json {
        output::say_json(&found)?;
    } else if found.is_empty() {
        output::say("No such rows.")?;
    } else {
        let rows: Vec<AuditAnswer> = serde_json::from_value(found.into())?;
        output::say(&table(&rows).styled(Style::of_stdout()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn query(args: &AuditListArgs, now: Timestamp) -> Result<String, UsageError> {
    let since = args.since.as_deref().map(|text| time("--since", text, now)).transpose()?;
    let until = args.until.as_deref().map(|text| time("--until", text, now)).transpose()?;
    let parameters = [
        ("deployment", &args.deployment),
        ("actor", &args.key),
        ("action", &args.action),
        ("result", &args.result),
        ("since", &since),
        ("until", &until),
        ("limit", &Some(args.limit.to_string())),
    ];
    // A URL of its own, to encode them.
    let mut url = Url::parse("http://localhost/").map_err(|e| UsageError::new(e.to_string()))?;
    for (name, value) in parameters {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    Ok(url.query().unwrap_or_default().to_owned())
}

/// A time, or how long ago.
fn time(flag: &str, text: &str, now: Timestamp) -> Result<String, UsageError> {
    if let Some(span) = read_span(text) {
        return Ok(api_time::show(now.before(span).to_time()));
    }
    api_time::parse(text).map(|at| api_time::show(at.to_time())).ok_or_else(|| {
        UsageError::new(format!(
            "{flag} {text:?} is no time; give one such as \"2034-05-12 02:43:21\" (UTC), or 7d or 12h ago"
        ))
    })
}

fn table(rows: &[AuditAnswer]) -> TextTable {
    let mut table = TextTable::new([
        "NUMBER",
        "WHEN (UTC)",
        "WHO",
        "FROM",
        "WHAT",
        "OF",
        "RESULT",
        "CERTIFICATE",
        "DETAIL",
    ]);
    for row in rows {
        let number = row.number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let tone = if row.result == "ok" { None } else { Some(Tone::Doubtful) };
        table.toned_row([
            (&number, None),
            (&row.at, None),
            (&row.actor, None),
            (row.address.as_deref().unwrap_or("-"), None),
            (&row.action, None),
            (&row.subject, None),
            (&row.result, tone),
            (&certificate(row), None),
            (&row.detail, None),
        ]);
    }
    table
}

/// Such as `3f2a91bc07d1 > 77ab12cd93f0`.
fn certificate(row: &AuditAnswer) -> String {
    let short = |text: &Option<String>| match text {
        Some(text) => text.chars().take(DIGITS_SHOWN).collect(),
        None => "none".to_owned(),
    };
    match (&row.fingerprint_before, &row.fingerprint_after) {
        (None, None) => "-".to_owned(),
        (before, after) => format!("{} > {}", short(before), short(after)),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;
    use time::macros::datetime;

    use super::*;
    use crate::cli::{AuditCommand, Cli, Command};

    fn asked(flags: &[&str]) -> Result<String, String> {
        let all = ["certward", "audit", "list"].iter().chain(flags);
        let Command::Audit(args) = Cli::try_parse_from(all).unwrap().command else { panic!("audit") };
        let AuditCommand::List(args) = args.command else { panic!("list") };
        query(&args, Timestamp::from_time(datetime!(2034-05-12 02:43:21 UTC))).map_err(|e| e.to_string())
    }

    #[test]
    fn filters_become_the_query() {
        assert_eq!(asked(&[]), Ok("limit=100".to_owned()));
        let all = [
            "--deployment",
            "north",
            "--key",
            "k1",
            "--action",
            "tls.",
            "--result",
            "refused",
            "--since",
            "7d",
            "--until",
            "2034-05-11 00:00:00",
            "--limit",
            "5",
        ];
        let query = "deployment=north&actor=k1&action=tls.&result=refused&since=2034-05-05+02%3A43%3A21\
                     &until=2034-05-11+00%3A00%3A00&limit=5";
        assert_eq!(asked(&all), Ok(query.to_owned()));
        assert!(asked(&["--since", "yesterday"]).unwrap_err().contains("--since \"yesterday\" is no time"));
    }

    #[test]
    fn rows_are_shown_with_who_from_where_and_which_certificate() {
        let rows: Vec<AuditAnswer> = serde_json::from_value(json!([
            {"number": 8, "at": "2034-05-12 02:43:21", "actor": "k1", "address": "192.0.2.7", "action": "tls.replace",
             "subject": "north", "result": "ok", "detail": "version 3",
             "fingerprintBefore": "0123456789abcdef", "fingerprintAfter": "fedcba9876543210"},
            {"number": 7, "at": "2034-05-12 02:43:20", "actor": "k1\u{1b}", "action": "tls.replace",
             "subject": "north", "result": "KEY_MISMATCH", "detail": ""},
            {"at": "2034-05-12 02:43:19", "actor": "certward", "action": "tls.running", "subject": "north", "result": "ok",
             "detail": "version 2", "fingerprintAfter": "fedcba9876543210"},
        ]))
        .unwrap();
        assert_eq!(
            table(&rows).text(),
            "NUMBER  WHEN (UTC)           WHO       FROM       WHAT         OF     RESULT        CERTIFICATE                  DETAIL\n\
             8       2034-05-12 02:43:21  k1        192.0.2.7  tls.replace  north  ok            0123456789ab > fedcba987654  version 3\n\
             7       2034-05-12 02:43:20  k1\\u{1b}  -          tls.replace  north  KEY_MISMATCH  -                            -\n\
             -       2034-05-12 02:43:19  certward  -          tls.running  north  ok            none > fedcba987654          version 2"
        );
    }
}
