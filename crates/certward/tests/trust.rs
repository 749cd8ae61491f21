//! `trust` against a scripted API.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod stage;

use certward_test_support::Authority;
use serde_json::json;
use stage::{Answer, Run, Script, finish};

const CAS: &str = "/public_api/v1/deployments/d1/tls/client-cas";
const PENDING: Answer = (
    200,
    "",
    r#"{"status":"pending","tlsType":"two-way","impact":{"severity":"notable","connected":{"refused":0,"of":0},
        "known":{"refused":1,"of":2},"named":[{"id":"1","name":"meter-7","reason":"No client CA."},{"name":"192.0.2.7","reason":"No CA."}],
        "hostsLost":[],"asOf":"2034-04-11 02:00:00"}}"#,
);

fn run(api: &Script, arguments: &[&str]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    finish(api.client(folder.path()).args(arguments))
}

#[test]
fn a_ca_that_is_there_already_is_not_added() {
    let (old, new) = (Authority::new("Old"), Authority::new("New"));
    let folder = tempfile::tempdir().unwrap();
    let listed = json!([{"fingerprint": certward_pki::fingerprint(old.der()), "subject": "CN=Old"}]);
    let listed: &'static str = listed.to_string().leak();
    let add = format!("POST {CAS}");
    let list = format!("GET {CAS}");
    let nothing = "Nothing to add: CN=Old is there already\n";
    for (text, more, asked, said) in [
        (old.pem().to_owned(), None, vec![&list], nothing),
        (old.pem().to_owned(), Some("--json"), vec![&list, &add], nothing),
        (format!("{}{}", old.pem(), new.pem()), None, vec![&list, &add], ""),
        ("no PEM".to_owned(), None, vec![&add], ""),
    ] {
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, &text).unwrap();
        let answers = if asked.len() == 1 && asked[0] == &add {
            vec![PENDING]
        } else {
            vec![(200, "", listed), PENDING]
        };
        let api = Script::new(answers);
        let arguments = ["trust", "add", "d1", "--client-ca", file.to_str().unwrap()];
        let added = run(&api, &arguments.into_iter().chain(more).collect::<Vec<_>>());
        assert_eq!((added.code, added.stderr.as_str()), (0, said), "{text}");
        assert_eq!(api.asked_lines().iter().collect::<Vec<_>>(), asked, "{text}");
        assert_eq!(added.stdout.is_empty(), asked == [&list], "{}", added.stdout);
    }
}

#[test]
fn after_a_removal_its_devices_stand_once_with_the_way_back() {
    let fingerprint = "1f".repeat(32);
    let listed = json!([{"fingerprint": fingerprint, "subject": "CN=Old"}]).to_string().leak();
    let device = r#"[{"id":"1","name":"meter-7","lastSeenAt":"2024-04-11 02:00:00","connected":false}]"#;
    let api = Script::new(vec![(200, "", listed), (200, "", device), PENDING]);
    let removed = run(&api, &["trust", "remove", "d1", "1f"]);
    assert_eq!(removed.code, 0, "{}", removed.stderr);
    let said = "Removed the client CA CN=Old of d1: 1 known device is refused from now on. To undo: certward tls rollback d1\n";
    assert!(removed.stderr.ends_with(said), "{}", removed.stderr);
    let all = format!("{}{}", removed.stderr, removed.stdout);
    assert_eq!(all.matches("meter-7").count(), 1, "{all}");
    assert!(removed.stdout.contains("192.0.2.7"), "what is not known is still named: {}", removed.stdout);
    assert_eq!(api.asked_lines()[2], format!("DELETE {CAS}/{fingerprint}"));
}
