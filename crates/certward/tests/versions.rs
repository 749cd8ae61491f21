//! `tls versions`, `diff`, `rollback` and `erase-version` against a scripted API.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod stage;

use stage::{Answer, Run, Script, finish, pseudo_terminal::PseudoTerminal};

const PENDING: Answer =
    (200, "", r#"{"tlsType":"one-way","expire":"2034-05-22 02:43:21","status":"pending"}"#);
const RUNNING: Answer =
    (200, "", r#"{"tlsType":"one-way","expire":"2034-05-22 02:43:21","status":"running"}"#);
const DONE: Answer = (204, "", "");
const DEPLOYMENT: Answer = (200, "", r#"{"deploymentID":"d1","connected":3,"hosts":["a.example"]}"#);
/// 9 and 8 are one-way, 7 is two-way and was never running, 4 is two-way.
const VERSIONS: Answer = (
    200,
    "",
    r#"[{"version":9,"status":"running","proven":true,"tlsType":"one-way","issuer":"CN=A","notAfter":"2034-05-22 02:43:21"},
        {"version":8,"status":"superseded","proven":true,"tlsType":"one-way","issuer":"CN=A","notAfter":"2034-05-22 02:43:21"},
        {"version":7,"status":"superseded","proven":false,"tlsType":"two-way","issuer":"CN=B","notAfter":"2034-05-22 02:43:21",
         "clientCAs":[{"subject":"CN=C","fingerprint":"0a"}]},
        {"version":4,"status":"erased","proven":true,"tlsType":"two-way","issuer":"CN=B","notAfter":"2034-05-22 02:43:21",
         "clientCAs":[{"subject":"CN=C","fingerprint":"0a"}]}]"#,
);
const LIMITED: Answer =
    (429, "Retry-After: 9\r\n", r#"{"code":"RATE_LIMITED","message":"No.","details":[]}"#);

const GET: &str = "GET /public_api/v1/deployments/d1";
const GET_TLS: &str = "GET /public_api/v1/deployments/d1/tls";
const GET_VERSIONS: &str = "GET /public_api/v1/deployments/d1/tls/versions";
const ROLLBACK: &str = "POST /public_api/v1/deployments/d1/tls/rollback";
const ERASE: &str = "DELETE /public_api/v1/deployments/d1/tls/versions/4";

fn run(api: &Script, arguments: &[&str]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    finish(api.client(folder.path()).args(arguments))
}

fn at_a_terminal(api: &Script, arguments: &[&str], answer: Option<&str>) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = PseudoTerminal::start(api.client(folder.path()).args(arguments));
    if let Some(answer) = answer {
        terminal.answer("Go on? [y/N] ", answer);
    }
    terminal.finish()
}

/// The beginnings of the requests, and the version that the rollback named.
fn asked(api: &Script) -> (Vec<String>, Option<i64>) {
    let asked = api.asked();
    let line = |request: &String| request.split(" HTTP/1.1").next().unwrap().to_owned();
    let rollback = asked.iter().find(|request| request.starts_with(ROLLBACK)).unwrap();
    let body: serde_json::Value = serde_json::from_str(rollback.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    (asked.iter().map(line).collect(), body["version"].as_i64())
}

#[test]
fn versions_are_listed_and_compared() {
    let api = Script::new(vec![VERSIONS]);
    let listed = run(&api, &["tls", "versions", "d1"]);
    assert_eq!((listed.code, listed.stdout.lines().count()), (0, 5), "{}", listed.stdout);
    assert_eq!(api.asked_lines(), [GET_VERSIONS]);
    let json = run(&Script::new(vec![VERSIONS]), &["tls", "versions", "d1", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json[3]["status"], "erased");
    let none = run(&Script::new(vec![(200, "", "[]")]), &["tls", "versions", "d1"]);
    assert_eq!((none.code, none.stdout.as_str()), (0, "No certificate was set yet.\n"));

    for (versions, code, stdout, stderr) in [
        (["8", "7"], 0, "issuer      - CN=A\n            + CN=B\n", ""),
        (["7", "8"], 0, "issuer      - CN=B\n            + CN=A\n", ""),
        (["9", "8"], 0, "The versions 9 and 8 do not differ.\n", ""),
        (
            ["9", "5"],
            1,
            "",
            "version 5 of d1 does not exist, or is not kept any more; `certward tls versions d1`",
        ),
        (["9", "x"], 2, "", "invalid value 'x'"),
    ] {
        let diff = run(&Script::new(vec![VERSIONS]), &["tls", "diff", "d1", versions[0], versions[1]]);
        assert_eq!(diff.code, code, "{versions:?}: {}", diff.stderr);
        assert!(
            diff.stdout.contains(stdout) && diff.stderr.contains(stderr),
            "{}{}",
            diff.stdout,
            diff.stderr
        );
    }
    let diff = run(&Script::new(vec![VERSIONS]), &["tls", "diff", "d1", "7", "4", "--json"]);
    assert_eq!(diff.stdout.trim(), r#"{"from":7,"to":4,"differences":[]}"#);
}

#[test]
fn a_script_is_not_asked_and_a_rollback_is_waited_for() {
    for (flags, expected) in [(&[][..], Some(8)), (&["--to", "7"][..], Some(7))] {
        let api = Script::new(vec![VERSIONS, PENDING, RUNNING]);
        let back = run(&api, &[&["tls", "rollback", "d1", "--wait"], flags].concat());
        assert_eq!((back.code, back.stderr.as_str()), (0, ""));
        assert!(back.stdout.starts_with("status   running"), "{}", back.stdout);
        let lines = [GET_VERSIONS, ROLLBACK, GET_TLS].map(str::to_owned);
        assert_eq!(asked(&api), (lines.into(), expected));
    }
    let failed: Answer = (200, "", r#"{"tlsType":"one-way","status":"failed","reason":"No way in."}"#);
    let back = run(&Script::new(vec![VERSIONS, PENDING, failed]), &["tls", "rollback", "d1", "--wait"]);
    assert_eq!(back.code, 1);
    assert!(back.stdout.contains("No way in."), "{}", back.stdout);
}

#[test]
fn a_person_is_asked_before_a_rollback_that_trusts_fewer_devices() {
    const NARROWER: &[&str] = &["tls", "rollback", "d1", "--to", "7"];
    for (answer, goes_on) in [("y", true), ("n", false)] {
        let api = Script::new(vec![VERSIONS, DEPLOYMENT, PENDING]);
        let back = at_a_terminal(&api, NARROWER, Some(answer));
        assert!(back.stderr.contains("goes back to version 7 of d1"), "{}", back.stderr);
        assert!(back.stderr.contains("of 3 devices connected now"), "{}", back.stderr);
        assert_eq!(back.code, if goes_on { 0 } else { 1 }, "{}", back.stderr);
        let lines = [&[GET_VERSIONS, GET][..], if goes_on { &[ROLLBACK] } else { &[] }].concat();
        assert_eq!(api.asked_lines(), lines);
    }
    // Nothing is narrower, --yes, or the server decides.
    for (arguments, answers, lines, sent) in [
        (&["tls", "rollback", "d1"][..], vec![VERSIONS, PENDING], vec![GET_VERSIONS, ROLLBACK], Some(8)),
        (&["tls", "rollback", "d1"], vec![LIMITED, PENDING], vec![GET_VERSIONS, ROLLBACK], None),
        (
            &["tls", "rollback", "d1", "--to", "7", "-y"],
            vec![VERSIONS, PENDING],
            vec![GET_VERSIONS, ROLLBACK],
            Some(7),
        ),
    ] {
        let api = Script::new(answers);
        assert_eq!(at_a_terminal(&api, arguments, None).code, 0, "{arguments:?}");
        let lines: Vec<String> = lines.into_iter().map(str::to_owned).collect();
        assert_eq!(asked(&api), (lines, sent), "{arguments:?}");
    }
}

#[test]
fn what_the_server_would_refuse_uses_up_no_rollback() {
    for (to, says) in [
        ("9", "version 9 is the newest of d1"),
        ("5", "version 5 of d1 does not exist"),
        ("4", "the key of version 4 of d1 is erased"),
    ] {
        let api = Script::new(vec![VERSIONS]);
        let refused = run(&api, &["tls", "rollback", "d1", "--to", to]);
        assert!(refused.code == 1 && refused.stderr.contains(says), "{}", refused.stderr);
        assert!(refused.stderr.contains("`certward tls versions d1` lists"), "{}", refused.stderr);
        assert_eq!(api.asked_lines(), [GET_VERSIONS]);
    }
}

/// Newest first: the newest is two-way.
const FROM_TWO_WAY: Answer = (
    200,
    "",
    r#"[{"version":9,"status":"running","proven":true,"tlsType":"two-way","clientCAs":[{"subject":"CN=C","fingerprint":"0a"}]},
        {"version":8,"status":"superseded","proven":true,"tlsType":"one-way"}]"#,
);

#[test]
fn a_script_does_not_end_client_verification_unless_it_is_forced() {
    let api = Script::new(vec![FROM_TWO_WAY]);
    let stopped = run(&api, &["tls", "rollback", "d1"]);
    assert!(stopped.code == 1 && stopped.stderr.contains("is one-way"), "{}", stopped.stderr);
    assert_eq!(api.asked_lines(), [GET_VERSIONS]);
    let api = Script::new(vec![FROM_TWO_WAY, PENDING]);
    assert_eq!(run(&api, &["tls", "rollback", "d1", "--force"]).code, 0);
    assert_eq!(api.asked_lines(), [GET_VERSIONS, ROLLBACK]);
}

/// `refused` of 7 connected devices would be refused, and the root is another one.
fn severe(refused: u32) -> Answer {
    let body = format!(
        r#"{{"code":"IMPACT_SEVERE","message":"No.","details":[],"impact":{{"severity":"severe",
            "connected":{{"refused":{refused},"of":7}},"rootChanged":{{"from":"CN=a","to":"CN=b"}}}}}}"#
    );
    (422, "", Box::leak(body.into_boxed_str()))
}

#[test]
fn a_rollback_that_cuts_devices_off_stops_and_the_way_back_from_another_root_does_not() {
    let api = Script::new(vec![VERSIONS, severe(0), PENDING]);
    let back = run(&api, &["tls", "rollback", "d1"]);
    assert_eq!(back.code, 0, "{}", back.stderr);
    assert_eq!(api.asked_lines(), [GET_VERSIONS, ROLLBACK, ROLLBACK]);

    let api = Script::new(vec![VERSIONS, severe(7)]);
    let stopped = run(&api, &["tls", "rollback", "d1"]);
    assert!(stopped.code == 1 && stopped.stderr.contains("7 of 7 connected"), "{}", stopped.stderr);
    assert_eq!(api.asked_lines(), [GET_VERSIONS, ROLLBACK]);

    let api = Script::new(vec![VERSIONS, PENDING]);
    assert_eq!(run(&api, &["tls", "rollback", "d1", "--force"]).code, 0);
    assert!(api.asked().iter().all(|request| !request.to_lowercase().contains("prefer: handling")));
}

#[test]
fn a_key_is_erased_after_a_yes() {
    const ARGUMENTS: &[&str] = &["tls", "erase-version", "d1", "4"];
    for (answer, goes_on) in [("yes", true), ("", false)] {
        let api = Script::new(vec![DONE, VERSIONS]);
        let erased = at_a_terminal(&api, ARGUMENTS, Some(answer));
        assert!(erased.stderr.contains("private key of version 4 of d1 for good"), "{}", erased.stderr);
        assert_eq!(erased.code, if goes_on { 0 } else { 1 }, "{}", erased.stderr);
        assert_eq!(api.asked_lines(), if goes_on { vec![ERASE, GET_VERSIONS] } else { vec![] });
    }
    let api = Script::new(vec![DONE, LIMITED]);
    assert_eq!(at_a_terminal(&api, &[ARGUMENTS, &["--yes"]].concat(), None).code, 0);
    for (flags, stdout) in [(&[][..], "Erased the private key of version 4 of d1.\n"), (&["--json"], "")] {
        let api = Script::new(vec![DONE, LIMITED]);
        let erased = run(&api, &[ARGUMENTS, flags].concat());
        assert_eq!((erased.code, erased.stdout.as_str(), erased.stderr.as_str()), (0, stdout, ""));
    }
    let same: Answer = (
        200,
        "",
        r#"[{"version":6,"status":"running","keyFingerprint":"0a"},{"version":4,"keyFingerprint":"0a"}]"#,
    );
    let erased = run(&Script::new(vec![DONE, same]), ARGUMENTS);
    assert!(
        erased.code == 0 && erased.stderr.contains("the same key is still kept with"),
        "{}",
        erased.stderr
    );
}

#[test]
fn a_refusal_says_what_to_do() {
    for (status, code, says) in [
        (404, "VERSION_NOT_FOUND", "`certward tls versions d1` lists those that are kept"),
        (422, "VERSION_ERASED", "certward tls set d1 --cert FILE --key FILE"),
        (409, "VERSION_IN_SERVICE", "once a newer version is running"),
        (404, "TLS_NOT_FOUND", "`certward tls set d1 --cert FILE --key FILE` sets one"),
    ] {
        let body = format!(r#"{{"code":"{code}","message":"No.","details":[]}}"#);
        let api = Script::new(vec![LIMITED, (status, "", Box::leak(body.into_boxed_str()))]);
        let refused = run(&api, &["tls", "rollback", "d1"]);
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains(code) && refused.stderr.contains(says), "{}", refused.stderr);
    }
    let expired = r#"{"code":"LEAF_EXPIRED","message":"The leaf expired.","details":[{"code":"LEAF_EXPIRED","severity":"error",
        "field":"cert","item":{"index":0,"subject":"CN=a"},"message":"The leaf expired.","remedy":"Renew it."}]}"#;
    let refused = run(&Script::new(vec![LIMITED, (422, "", expired)]), &["tls", "rollback", "d1"]);
    assert!(
        refused.stderr.contains("LEAF_EXPIRED in the certificate of that version, 1st, CN=a"),
        "{}",
        refused.stderr
    );
}
