//! Every message that certward sends, as its golden file says. `CERTWARD_UPDATE_SNAPSHOTS=1` writes
//! the files again.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{fs, path::PathBuf};

use certward_lifecycle::AlertMessage;
use certward_store::{Alert, AlertCause, AlertId, AppliedRule, ChannelId, EndingKind, ProjectId, Timestamp};

const HOUR: i64 = 60 * 60 * 1000;
const DAY: i64 = 24 * HOUR;
/// 2026-11-30 00:00 UTC.
const NOW: i64 = 1_795_996_800_000;

fn alert(kind: EndingKind, rule: &str, left: i64, owners: &[&str]) -> Alert {
    Alert {
        id: AlertId::parse("k3x9q2m7c5v1b8n4").unwrap(),
        project: Some(ProjectId::parse("north").unwrap()),
        cause: AlertCause::Ending(AppliedRule {
            kind,
            rule: rule.into(),
            begins_at: Timestamp(NOW + left - 47 * DAY),
            ends_at: Timestamp(NOW + left),
            clock_jump: 0,
        }),
        item: "8f".repeat(32),
        subject: "CN=mqtt.example.com".into(),
        owners: owners.iter().map(|owner| (*owner).to_owned()).collect(),
        owner_count: owners.len() as u64,
        at: Timestamp(NOW),
        withdrawn_at: None,
    }
}

fn after_a_jump(alert: Alert, clock_jump: i64) -> Alert {
    let applied = alert.cause.applied().unwrap().clone();
    Alert { cause: AlertCause::Ending(AppliedRule { clock_jump, ..applied }), ..alert }
}

/// As the store has it.
const STOPPED: &str = r#"{"severity":"severe","connected":{"refused":2,"of":50},"known":{"refused":7,"of":120},
    "hostsLost":["mqtt.example.com"],"hostsLostCount":1,"rootChanged":{"from":"CN=old root","to":"CN=new root"},
    "keyKindChanged":{"from":"RSA 2048","to":"ECDSA P-256","share":0.1},
    "reasons":["2 of 50 connected devices would be refused","the root would be CN=new root instead of CN=old root"]}"#;

fn stopped(detail: &str) -> Alert {
    let cause = AlertCause::StoppedChange { detail: detail.to_owned() };
    Alert { cause, ..alert(EndingKind::Leaf, "", 0, &["ge6a1a75"]) }
}

fn unused(detail: &str) -> Alert {
    let cause = AlertCause::UnusedClientCa { detail: detail.to_owned() };
    Alert { cause, subject: "CN=Device CA".into(), ..alert(EndingKind::Leaf, "", 0, &["ge6a1a75"]) }
}

fn cases() -> Vec<(&'static str, AlertMessage)> {
    let many: Vec<String> = (0..20).map(|number| format!("d{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let leaf = alert(EndingKind::Leaf, "1/5", 9 * DAY + 9 * HOUR, &["ge6a1a75"]);
    let key = Alert {
        project: None,
        item: "x7k2m9q4c1v8b5n3".into(),
        subject: "renewal".into(),
        ..alert(EndingKind::ApiKey, "1d", DAY, &["x7k2m9q4c1v8b5n3"])
    };
    let crl =
        Alert { subject: "CN=Device CA".into(), ..alert(EndingKind::Crl, "1/10", 16 * HOUR, &["ge6a1a75"]) };
    let api = Alert { project: None, ..alert(EndingKind::ApiCertificate, "1/30", 40 * HOUR, &["n1", "n2"]) };
    let alerts = [
        ("leaf-approaching", leaf.clone()),
        ("leaf-ended-of-two", alert(EndingKind::Leaf, "end", -3 * HOUR, &["north-1", "north-2"])),
        ("leaf-without-subject", Alert { subject: String::new(), ..leaf.clone() }),
        (
            "intermediate-of-many",
            Alert { owner_count: 25, ..alert(EndingKind::Intermediate, "1/10", 90 * DAY, &many) },
        ),
        ("client-ca", alert(EndingKind::ClientCa, "1/5", 180 * DAY, &["ge6a1a75"])),
        ("crl", crl),
        ("api-key", key),
        ("api-certificate", api),
        ("after-the-clock-moved-forward", after_a_jump(leaf.clone(), 365 * DAY)),
        ("after-the-clock-moved-back", after_a_jump(leaf, -5 * HOUR)),
        ("change-stopped", stopped(STOPPED)),
        ("change-stopped-unreadable", stopped("")),
        ("client-ca-unused", unused(r#"{"fingerprints":["8f8f","a0a0"],"lastSeenMs":1793318400000}"#)),
        ("client-ca-unused-unreadable", unused("")),
    ];
    let mut cases: Vec<_> = alerts.iter().map(|(name, alert)| (*name, AlertMessage::of(alert))).collect();
    let channel = ChannelId::parse("m5n8b2v7").unwrap();
    cases.push(("test", AlertMessage::test("test-q1w2e3r4".into(), &channel, Timestamp(NOW))));
    cases
}

#[test]
fn each_message_is_as_its_golden_file_says() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    let update = std::env::var_os("CERTWARD_UPDATE_SNAPSHOTS").is_some();
    let mut names = Vec::new();
    for (name, message) in cases() {
        let json: serde_json::Value = serde_json::from_str(&message.json).unwrap();
        let json = serde_json::to_string_pretty(&json).unwrap();
        let AlertMessage { id, subject, text, .. } = &message;
        let shown = format!("id: {id}\n\n--- webhook\n{json}\n\n--- mail\nSubject: {subject}\n\n{text}");
        let file = folder.join(format!("{name}.txt"));
        if update {
            fs::write(&file, &shown).unwrap();
        }
        assert_eq!(fs::read_to_string(&file).unwrap_or_default(), shown, "{name}");
        assert!(!subject.contains('\n') && subject.len() < 200, "{name}");
        names.push(format!("{name}.txt"));
    }
    let mut files: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    files.sort();
    assert_eq!(files, names, "no file is left over");
}
