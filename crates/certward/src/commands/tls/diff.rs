//! `tls diff`: how two versions differ.

use std::process::ExitCode;

use serde::Serialize;

use super::versions;
use crate::{
    api_types::{ListedCertificateAnswer, VersionAnswer},
    cli::ConnectArgs,
    client::Client,
    commands::deployment_id,
    output::{self, plain},
};

/// Hexadecimal digits of a fingerprint that are shown: 64 bits tell certificates apart.
const FINGERPRINT_DIGITS: usize = 16;

#[derive(Debug, PartialEq, Eq, Serialize)]
struct VersionDiff {
    from: i64,
    to: i64,
    differences: Vec<Difference>,
}

/// What the one has and the other has not, of one property.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Difference {
    /// As in the API's list of versions.
    property: &'static str,
    removed: Vec<String>,
    added: Vec<String>,
}

pub(super) async fn diff(id: &str, from: i64, to: i64, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let id = deployment_id(id)?;
    let answer = versions::get(&Client::new(connect)?, &id).await?;
    let kept: Vec<VersionAnswer> = serde_json::from_value(answer)?;
    let (from, to) = (versions::find(&kept, from, &id)?, versions::find(&kept, to, &id)?);
    let diff = VersionDiff::of(from, to);
    if connect.json {
        output::say_json(&diff)?;
    } else {
        output::say(&diff.text(from, to))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl VersionDiff {
    fn of(from: &VersionAnswer, to: &VersionAnswer) -> Self {
        type Values = fn(&VersionAnswer) -> Vec<String>;
        const PROPERTIES: [(&str, Values); 9] = [
            ("tlsType", |version| vec![version.tls_type.clone()]),
            ("names", |version| version.names.clone()),
            ("issuer", |version| vec![version.issuer.clone()]),
            ("keyKind", |version| vec![version.key_kind.clone()]),
            ("keyFingerprint", |version| vec![short(&version.key_fingerprint)]),
            ("notBefore", |version| vec![version.not_before.clone()]),
            ("notAfter", |version| vec![version.not_after.clone()]),
            ("clientCAs", |version| certificates(&version.client_cas)),
            ("chain", |version| certificates(&version.chain)),
        ];
        let differences = PROPERTIES.into_iter().filter_map(|(property, values)| {
            let (before, after) = (values(from), values(to));
            let without = |values: &[String], others: &[String]| -> Vec<String> {
                values.iter().filter(|value| !others.contains(value)).cloned().collect()
            };
            let (removed, added) = (without(&before, &after), without(&after, &before));
            (!removed.is_empty() || !added.is_empty()).then_some(Difference { property, removed, added })
        });
        Self { from: from.version, to: to.version, differences: differences.collect() }
    }

    fn text(&self, from: &VersionAnswer, to: &VersionAnswer) -> String {
        if self.differences.is_empty() {
            return format!("The versions {} and {} do not differ.", self.from, self.to);
        }
        let mut lines = vec![head("-", from), head("+", to)];
        for Difference { property, removed, added } in &self.differences {
            let removed = removed.iter().map(|value| ("-", value));
            let values = removed.chain(added.iter().map(|value| ("+", value)));
            for (index, (sign, value)) in values.enumerate() {
                let name = if index == 0 { in_words(property) } else { "" };
                lines.push(format!("{name:<11} {sign} {}", plain(value)));
            }
        }
        lines.join("\n")
    }
}

fn head(sign: &str, version: &VersionAnswer) -> String {
    let VersionAnswer { version, status, accepted_at, .. } = version;
    format!("{sign} version {version}, {}, accepted {}", plain(status), plain(accepted_at))
}

fn in_words(property: &str) -> &str {
    match property {
        "tlsType" => "type",
        "keyKind" => "kind of key",
        "keyFingerprint" => "key",
        "notBefore" => "valid from",
        "notAfter" => "ends",
        "clientCAs" => "client CAs",
        other => other,
    }
}

/// The fingerprint, too: a new certificate often has the subject of the one before.
fn certificates(listed: &[ListedCertificateAnswer]) -> Vec<String> {
    let named = listed.iter().map(|ListedCertificateAnswer { subject, fingerprint }| {
        format!("{subject} ({})", short(fingerprint))
    });
    named.collect()
}

fn short(fingerprint: &str) -> String {
    let digits: String = fingerprint.chars().take(FINGERPRINT_DIGITS).collect();
    format!("sha256 {digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: i64) -> VersionAnswer {
        let certificate = |subject: &str, fingerprint: &str| ListedCertificateAnswer {
            subject: subject.to_owned(),
            fingerprint: fingerprint.repeat(16),
        };
        VersionAnswer {
            version: number,
            status: "superseded".to_owned(),
            accepted_at: "2034-04-10 02:00:00".to_owned(),
            tls_type: "two-way".to_owned(),
            names: vec!["a.example".to_owned(), "b.example".to_owned()],
            issuer: "CN=R10".to_owned(),
            key_kind: "RSA 2048".to_owned(),
            key_fingerprint: "3a3b".repeat(16),
            not_before: "2034-02-01 00:00:00".to_owned(),
            not_after: "2034-05-01 00:00:00".to_owned(),
            chain: vec![certificate("CN=a.example", "0a0b"), certificate("CN=R10", "1a1b")],
            client_cas: vec![certificate("CN=Devices", "2a2b")],
            ..VersionAnswer::default()
        }
    }

    #[test]
    fn only_what_differs_is_shown() {
        let from = version(4);
        let mut to = version(6);
        to.status = "running".to_owned();
        to.names = vec!["b.example".to_owned(), "c.example\u{1b}".to_owned()];
        to.key_kind = "ECDSA P-256".to_owned();
        to.key_fingerprint = "4a4b".repeat(16);
        to.chain[0].fingerprint = "9f86".repeat(16);
        to.client_cas.clear();
        to.tls_type = "one-way".to_owned();
        assert_eq!(
            VersionDiff::of(&from, &to).text(&from, &to),
            "- version 4, superseded, accepted 2034-04-10 02:00:00\n\
             + version 6, running, accepted 2034-04-10 02:00:00\n\
             type        - two-way\n            + one-way\n\
             names       - a.example\n            + c.example\\u{1b}\n\
             kind of key - RSA 2048\n            + ECDSA P-256\n\
             key         - sha256 3a3b3a3b3a3b3a3b\n            + sha256 4a4b4a4b4a4b4a4b\n\
             client CAs  - CN=Devices (sha256 2a2b2a2b2a2b2a2b)\n\
             chain       - CN=a.example (sha256 0a0b0a0b0a0b0a0b)\n            + CN=a.example (sha256 9f869f869f869f86)"
        );
    }

    #[test]
    fn a_line_says_that_nothing_differs() {
        let diff = VersionDiff::of(&version(4), &version(6));
        assert_eq!(diff.text(&version(4), &version(6)), "The versions 4 and 6 do not differ.");
        let json = serde_json::to_value(&diff).unwrap();
        assert_eq!(json, serde_json::json!({"from": 4, "to": 6, "differences": []}));
    }
}
