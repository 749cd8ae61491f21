//! `tls check` and `tls set` say what a change does to devices, and `set` stops at a severe impact.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod stage;

use std::path::Path;

use certward_test_support::Authority;
use stage::{Answer, Run, Script, finish, pseudo_terminal::PseudoTerminal};
use tempfile::TempDir;

const ONE_WAY: Answer =
    (200, "", r#"{"tlsType":"one-way","expire":"2034-05-22 02:43:21","status":"running"}"#);
const CHECKS_USED_UP: Answer =
    (429, "Retry-After: 60\r\n", r#"{"code":"RATE_LIMITED","message":"60 of 60.","details":[]}"#);
const HARMLESS: Answer = (
    200,
    "",
    r#"{"accepted":true,"findings":[],"impact":{"severity":"none","connected":{"refused":0,"of":50},
        "known":{"refused":0,"of":1},"named":[],"hostsLost":[],"asOf":"2034-05-01 00:00:00"}}"#,
);
const SEVERE: Answer = (
    200,
    "",
    r#"{"accepted":true,"findings":[],"impact":{"severity":"severe","connected":{"refused":50,"of":60},
        "known":{"refused":7,"of":7},"named":[{"id":"ab","name":"meter-7","reason":"No client CA issued the certificate."}],
        "hostsLost":["b.example.com"],"rootChanged":{"from":"CN=old","to":"CN=new"},
        "keyKindChanged":{"from":"RSA 2048","to":"ECDSA P-256","share":0.1},"asOf":"2034-05-01 00:00:00"}}"#,
);
const REFUSED: Answer = (
    422,
    "",
    r#"{"code":"IMPACT_SEVERE","message":"It is severe.","details":[],"impact":{"severity":"severe",
        "connected":{"refused":50,"of":60},"known":{"refused":7,"of":7},
        "named":[{"id":"ab","name":"meter-7","reason":"No client CA issued the certificate."}],
        "hostsLost":["b.example.com"],"rootChanged":{"from":"CN=old","to":"CN=new"},
        "keyKindChanged":{"from":"RSA 2048","to":"ECDSA P-256","share":0.1},"asOf":"2034-05-01 00:00:00"}}"#,
);
const STORED: Answer = (
    200,
    "",
    r#"{"tlsType":"one-way","status":"pending","impact":{"severity":"severe","connected":{"refused":50,"of":60}}}"#,
);
const RUNNING: Answer = (200, "", r#"{"tlsType":"one-way","status":"running"}"#);

const GET: &str = "GET /public_api/v1/deployments/d1/tls";
const CHECK: &str = "POST /public_api/v1/deployments/d1/tls/check";
const PUT: &str = "PUT /public_api/v1/deployments/d1/tls";
const SET: [&str; 7] = ["tls", "set", "d1", "--cert", "cert.pem", "--key", "key.pem"];

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let leaf = Authority::new("CA").server(&["mqtt.example.com"]);
    std::fs::write(folder.path().join("cert.pem"), &leaf.chain_pem).unwrap();
    std::fs::write(folder.path().join("key.pem"), &leaf.key_pem).unwrap();
    folder
}

fn set(api: &Script, folder: &Path, flags: &[&str]) -> Run {
    finish(api.client(folder).args(SET).args(flags))
}

/// The first line of each request, and whether it was strict. Empties the script's list.
fn asked(api: &Script) -> Vec<(String, bool)> {
    let head = |request: String| request.split("\r\n\r\n").next().unwrap().to_owned();
    let heads = api.asked().into_iter().map(head);
    let line = |head: &str| head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
    heads.map(|head| (line(&head), head.to_lowercase().contains("prefer: handling=strict"))).collect()
}

#[test]
fn a_script_is_stopped_with_the_numbers_before_it_costs_a_change() {
    let cases: [(&[Answer], &[&str]); 2] =
        [(&[ONE_WAY, REFUSED], &[GET, CHECK]), (&[ONE_WAY, CHECKS_USED_UP, REFUSED], &[GET, CHECK, PUT])];
    for (answers, lines) in cases {
        let (folder, api) = (folder(), Script::new(answers.to_vec()));
        let run = set(&api, folder.path(), &["--json"]);
        assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{}", run.stderr);
        for text in ["50 of 60 connected devices", "7 of 7 known devices", "b.example.com", "--force"] {
            assert!(run.stderr.contains(text), "{text}: {}", run.stderr);
        }
        // Strict, so that the server records an alert.
        let expected: Vec<_> = lines.iter().map(|line| ((*line).to_owned(), *line != GET)).collect();
        assert_eq!(asked(&api), expected);
    }
    let (folder, api) = (folder(), Script::new(vec![ONE_WAY, REFUSED]));
    assert_eq!(
        set(&api, folder.path(), &[]).stderr,
        "certward: d1 was not changed, for this would cut devices off:\n\
         \x20 50 of 60 connected devices would be refused\n\
         \x20 7 of 7 known devices would be refused\n\
         \x20   meter-7  No client CA issued the certificate.\n\
         \x20 the host b.example.com is in use, and the new certificate does not cover it\n\
         \x20 the root would be CN=new instead of CN=old: devices that trust only CN=old cannot verify it\n\
         \x20 the key would be ECDSA P-256 instead of RSA 2048: 10.0 % of what devices offer, by network, cannot verify it\n\
         --force changes it all the same\n"
    );
}

#[test]
fn an_ordinary_renewal_is_strict_and_goes_on() {
    let (folder, api) = (folder(), Script::new(vec![ONE_WAY, HARMLESS, RUNNING]));
    let run = set(&api, folder.path(), &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let expected = [(GET, false), (CHECK, true), (PUT, true)].map(|(line, strict)| (line.to_owned(), strict));
    assert_eq!(asked(&api), expected);
}

#[test]
fn force_changes_it_and_says_what_that_does() {
    let (folder, api) = (folder(), Script::new(vec![ONE_WAY, SEVERE, STORED, RUNNING]));
    let run = set(&api, folder.path(), &["--force", "--wait"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(asked(&api).iter().all(|(_, is_strict)| !is_strict));
    assert!(
        run.stdout.contains(" UTC: severe.\n  50 of 60 connected devices would be refused"),
        "{}",
        run.stdout
    );
}

#[test]
fn a_person_is_asked_and_anything_but_yes_is_no() {
    let at_check: &[Answer] = &[ONE_WAY, SEVERE, STORED];
    let at_change: &[Answer] = &[ONE_WAY, CHECKS_USED_UP, REFUSED, STORED];
    for (answers, asked_before) in [(at_check, 2), (at_change, 3)] {
        for (answer, goes_on) in [("y", true), ("", false), ("no", false)] {
            let (folder, api) = (folder(), Script::new(answers.to_vec()));
            let mut terminal = PseudoTerminal::start(api.client(folder.path()).args(SET));
            terminal.answer("Change it all the same? [y/N] ", answer);
            let run = terminal.finish();
            assert_eq!(run.code, i32::from(!goes_on), "{answer:?}: {}", run.stderr);
            assert!(run.stderr.contains("50 of 60 connected devices would be refused"), "{}", run.stderr);
            let asked = asked(&api);
            assert!(!asked[1].1, "with a person there, no alert is needed");
            assert_eq!(asked.len(), asked_before + usize::from(goes_on));
            assert!(!goes_on || asked.last() == Some(&(PUT.to_owned(), false)));
        }
    }
}

#[test]
fn a_check_shows_the_impact_and_is_no_failure() {
    let check = [&["tls", "check"], &SET[2..]].concat();
    for (answer, text) in [
        (HARMLESS, "(50 connected devices, 1 known device)."),
        (SEVERE, " UTC: severe.\n  50 of 60 connected devices would be refused"),
        ((200, "", r#"{"accepted":true,"findings":[]}"#), "Impact: not known, for no device has been seen"),
    ] {
        let (folder, api) = (folder(), Script::new(vec![ONE_WAY, answer]));
        let run = finish(api.client(folder.path()).args(&check));
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(run.stdout.contains(text), "{}", run.stdout);
    }
}
