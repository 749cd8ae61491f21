//! `revocation` and `crl` against a scripted API.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod stage;

use certward_test_support::Authority;
use serde_json::{Value, json};
use stage::{Answer, Run, Script, finish};

const DONE: Answer = (204, "", "");
const ADDED: Answer = (
    201,
    "",
    r#"{"revocations":[{"id":"c4ca4238a0b923820dcc509a6f75849b","by":"name","name":"meter-7","existing":false}],
        "matches":{"known":1,"connected":1,"notCounted":[]},"inEffect":true,"silentNodes":[]}"#,
);
const ADDED_WITHOUT_A_NODE: Answer = (
    201,
    "",
    r#"{"revocations":[{"id":"c4ca4238a0b923820dcc509a6f75849b","by":"name","name":"meter-7","existing":false}],
        "matches":{"known":1,"connected":0,"notCounted":["n2"]},"inEffect":false,"silentNodes":["n2"]}"#,
);
const LISTED: Answer = (
    200,
    "",
    r#"[{"id":"c4ca4238a0b923820dcc509a6f75849b","by":"name","name":"meter-7","reason":"=stolen","revokedBy":"k1",
        "revokedAt":"2024-04-11 02:00:00"}]"#,
);
const SET: Answer = (
    200,
    "",
    r#"{"id":"meters","issuer":"CN=Meters","number":"7","entries":3,"thisUpdate":"2034-04-11 02:00:00",
        "nextUpdate":"2034-04-21 02:00:00","stale":"soft","isStale":false,"putBy":"k1","putAt":"2034-04-11 02:00:00",
        "warnings":[{"code":"CRL_VERSION_1","severity":"warning","field":"crl","message":"The CRL is of version 1.","remedy":"Ask the CA."}],
        "silentNodes":[]}"#,
);
const REFUSED: Answer = (
    422,
    "",
    r#"{"code":"REVOCATION_INVALID","message":"No.","details":[{"code":"REVOCATION_INVALID","severity":"error","field":"certificate",
        "item":{"index":1},"message":"The property certificate is wrong: it is none.","remedy":"Give one."}]}"#,
);
const SESSIONS: Answer = (200, "", r#"{"total":120,"sessions":[],"silentNodes":[]}"#);
const ALL_SESSIONS: &str = "/public_api/v1/deployments/d1/sessions?limit=1";
const REVOCATIONS: &str = "/public_api/v1/deployments/d1/tls/revocations";
const METERS: &str = "/public_api/v1/deployments/d1/tls/crls/meters";
const ID: &str = "c4ca4238a0b923820dcc509a6f75849b";

fn run(api: &Script, arguments: &[&str]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    finish(api.client(folder.path()).args(arguments))
}

/// The line and the body of the only request.
fn asked(api: &Script) -> (String, Value) {
    let asked = api.asked();
    let [request] = asked.as_slice() else { panic!("{asked:?}") };
    let (line, body) =
        (request.split(" HTTP/1.1").next().unwrap(), request.split("\r\n\r\n").nth(1).unwrap());
    (line.to_owned(), serde_json::from_str(body).unwrap_or_else(|_| body.into()))
}

#[test]
fn what_is_typed_is_what_the_api_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("meter.pem");
    std::fs::write(&file, "PEM").unwrap();
    let file = file.to_str().unwrap();
    for (arguments, entries) in [
        (
            vec!["--cert", file, "--cert", file, "--reason", "stolen"],
            json!([{"certificate": "PEM", "reason": "stolen"}, {"certificate": "PEM", "reason": "stolen"}]),
        ),
        (vec!["--fingerprint", "9f:86"], json!([{"fingerprint": "9f:86"}])),
        (vec!["--name", "meter-7", "--name", "meter-8"], json!([{"name": "meter-7"}, {"name": "meter-8"}])),
        (vec!["--name", "meter-7", "--issuer", "CN=A"], json!([{"name": "meter-7", "issuer": "CN=A"}])),
        (
            vec!["--issuer", "CN=A", "--serial", "0a", "--serial", "0b"],
            json!([{"issuer": "CN=A", "serial": "0a"}, {"issuer": "CN=A", "serial": "0b"}]),
        ),
    ] {
        let api = Script::new(vec![ADDED]);
        let added = run(&api, &[&["revocation", "add", "d1"], arguments.as_slice()].concat());
        assert_eq!((added.code, added.stderr.as_str()), (0, ""), "{arguments:?}");
        let expected = (format!("POST {REVOCATIONS}"), json!({"revocations": entries}));
        assert_eq!(asked(&api), expected, "{arguments:?}");
        let said =
            format!("Revoked: the name meter-7 (revocation {ID})\nClosed: 1 session. Known: 1 device.\n");
        assert_eq!(added.stdout, said);
    }
    let api = Script::new(vec![SESSIONS, ADDED]);
    let added = run(&api, &["revocation", "add", "d1", "--name", "meter-7", "--rate", "50/s", "--json"]);
    assert_eq!(
        api.asked_lines(),
        [format!("GET {ALL_SESSIONS}"), format!("POST {REVOCATIONS}?closeRate=50")]
    );
    assert_eq!(added.stderr, "Up to 120 sessions will be closed at 50/s: 3 s\n");
    assert_eq!(serde_json::from_str::<Value>(&added.stdout).unwrap()["revocations"][0]["id"], ID);
}

#[test]
fn what_cannot_be_meant_is_not_sent() {
    for arguments in [
        &["add", "d1"][..],
        &["add", "d1", "--serial", "0a"],
        &["add", "d1", "--issuer", "CN=A"],
        &["add", "d1", "--name", "a", "--fingerprint", "b"],
        &["add", "d1", "--fingerprint", "b", "--issuer", "CN=A"],
        &["add", "d1", "--name", "a", "--rate", "50"],
        &["add", "d1", "--cert", "/nowhere.pem"],
        &["remove", "d1", "meter-7"],
        &["remove", "d1", "c4ca4238a0b923820dcc509a6f75849b0"],
        &["list", "d1", "--csv", "--json"],
    ] {
        let api = Script::new(vec![ADDED]);
        let refused = run(&api, &[&["revocation"], arguments].concat());
        assert_eq!((refused.code, api.asked_lines().len()), (2, 0), "{arguments:?}: {}", refused.stderr);
    }
}

#[test]
fn a_node_that_is_behind_is_named_and_fails_the_command() {
    let added =
        run(&Script::new(vec![ADDED_WITHOUT_A_NODE]), &["revocation", "add", "d1", "--name", "meter-7"]);
    assert_eq!(added.code, 1);
    for text in [
        "no answer in time from n2; what is revoked may still be served there",
        "from n2; its sessions are not counted here",
        "devices of d1 are not asked for certificates now",
    ] {
        assert!(added.stderr.contains(text), "{text}: {}", added.stderr);
    }
    assert!(added.stdout.contains("Closed: 0 sessions. Known: 1 device."), "{}", added.stdout);
}

#[test]
fn an_entry_that_nothing_matches_is_said() {
    let added = r#"{"revocations":[{"id":"c4ca4238a0b923820dcc509a6f75849b","by":"name","name":"meter-7","existing":false}],
        "matches":{"known":0,"connected":0,"notCounted":[]},"inEffect":true,"silentNodes":[]}"#;
    let added = run(&Script::new(vec![(201, "", added)]), &["revocation", "add", "d1", "--name", "meter-7"]);
    assert_eq!(
        (added.code, added.stderr.as_str()),
        (0, "certward: no known device matches; compare with `certward devices d1 --csv`\n")
    );
}

#[test]
fn of_a_file_with_a_chain_the_leaf_is_sent() {
    let (ca, folder) = (Authority::new("Meters"), tempfile::tempdir().unwrap());
    let (leaf, file) = (ca.client("meter-7"), folder.path().join("meter.pem"));
    let add = |text: String, answer| {
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        let api = Script::new(vec![answer]);
        let added = run(&api, &["revocation", "add", "d1", "--cert", file, "--cert", file]);
        (added, api)
    };
    let (added, api) = add(format!("{}{}{}", leaf.key_pem, leaf.pem, ca.pem()), ADDED);
    assert_eq!(added.code, 0, "{}", added.stderr);
    let entry = json!({"certificate": leaf.pem.trim_end()});
    assert_eq!(asked(&api).1, json!({"revocations": [entry, entry]}));
    let (refused, api) = add(format!("{}{}", leaf.pem, ca.client("meter-8").pem), ADDED);
    assert_eq!((refused.code, api.asked_lines().len()), (2, 0));
    assert!(refused.stderr.contains("meter.pem holds 2 certificates"), "{}", refused.stderr);
    let (refused, _) = add("none".to_owned(), REFUSED);
    let named = format!("REVOCATION_INVALID in {}", file.display());
    assert!(refused.code == 1 && refused.stderr.contains(&named), "{}", refused.stderr);
}

#[test]
fn a_refused_entry_is_named_by_its_flag() {
    let refused = run(&Script::new(vec![REFUSED]), &["revocation", "add", "d1", "--name", "meter-7"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("REVOCATION_INVALID in --cert, 2nd"), "{}", refused.stderr);
}

#[test]
fn the_deny_list_is_listed_and_an_entry_removed() {
    let listed = run(&Script::new(vec![LISTED]), &["revocation", "list", "d1"]);
    assert!(
        listed.stdout.contains("the name meter-7") && listed.stdout.contains("=stolen"),
        "{}",
        listed.stdout
    );
    let csv = run(&Script::new(vec![LISTED]), &["revocation", "list", "d1", "--csv"]);
    assert_eq!(
        csv.stdout,
        format!(
            "id,by,device,fingerprint,issuer,serial,name,reason,revokedBy,revokedAt\n\
             {ID},name,,,,,meter-7,'=stolen,k1,2024-04-11 02:00:00\n"
        )
    );
    let none = run(&Script::new(vec![(200, "", "[]")]), &["revocation", "list", "d1"]);
    assert_eq!(none.stdout, "Nothing is revoked by the deny-list.\n");
    let api = Script::new(vec![DONE]);
    let removed = run(&api, &["revocation", "remove", "d1", ID]);
    assert_eq!(
        (removed.code, api.asked_lines()),
        (0, vec![format!("DELETE {REVOCATIONS}/{ID}").as_str().to_owned()])
    );
    let two = r#"[{"id":"c4ca4238a0b923820dcc509a6f75849b"},{"id":"c81e728d9d4c2f636f067f89cc14862c"}]"#;
    for (digits, asked_for, refusal) in [
        ("C4", 2, None),
        ("c", 1, Some("several revocations of d1 begin with c")),
        ("0", 1, Some("d1 has no revocation that begins with 0")),
    ] {
        let api = Script::new(vec![(200, "", two), DONE]);
        let removed = run(&api, &["revocation", "remove", "d1", digits]);
        let lines = [format!("GET {REVOCATIONS}?limit=1000"), format!("DELETE {REVOCATIONS}/{ID}")];
        assert_eq!(api.asked_lines(), lines[..asked_for], "{digits}");
        assert_eq!(removed.code, i32::from(refusal.is_some()), "{digits}: {}", removed.stderr);
        assert!(removed.stderr.contains(refusal.unwrap_or_default()), "{digits}: {}", removed.stderr);
    }
    let gone = (404, "", r#"{"code":"REVOCATION_NOT_FOUND","message":"No.","details":[]}"#);
    let gone = run(&Script::new(vec![gone]), &["revocation", "remove", "d1", ID]);
    assert!(
        gone.code == 1 && gone.stderr.contains("`certward revocation list d1` lists them"),
        "{}",
        gone.stderr
    );
}

#[test]
fn a_crl_is_sent_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("meters.crl");
    std::fs::write(&file, b"the bytes of a CRL").unwrap();
    let api = Script::new(vec![SESSIONS, SET]);
    let set = run(
        &api,
        &["crl", "set", "d1", "meters", "--file", file.to_str().unwrap(), "--stale", "hard", "--rate", "9/s"],
    );
    assert_eq!(set.code, 0, "{}", set.stderr);
    assert!(set.stderr.starts_with("Up to 120 sessions will be closed at 9/s: 14 s\n"), "{}", set.stderr);
    let asked_for = api.asked().remove(1);
    assert!(asked_for.starts_with(&format!("PUT {METERS}?closeRate=9&stale=hard HTTP/1.1")), "{asked_for}");
    assert!(asked_for.to_lowercase().contains("content-type: application/pkix-crl\r\n"), "{asked_for}");
    assert!(asked_for.ends_with("\r\n\r\nthe bytes of a CRL"), "{asked_for}");
    let warned = format!("warning CRL_VERSION_1 in {}", file.display());
    assert!(set.stderr.contains(&warned), "{}", set.stderr);
    assert!(set.stdout.contains("next update   2034-04-21 02:00:00 UTC"), "{}", set.stdout);

    let api = Script::new(vec![SET]);
    let set = run(&api, &["crl", "set", "d1", "meters", "--from", "http://pki.example/meters.crl"]);
    let expected = (format!("PUT {METERS}"), json!({"url": "http://pki.example/meters.crl"}));
    assert_eq!((set.code, asked(&api)), (0, expected), "{}", set.stderr);
    assert!(!set.stderr.contains("Not fetched yet"), "{}", set.stderr);
    let waiting = r#"{"id":"meters","stale":"soft","isStale":false,"url":"http://pki.example/meters.crl","warnings":[],"silentNodes":[]}"#;
    let api = Script::new(vec![SESSIONS, (200, "", waiting)]);
    let from = "http://pki.example/meters.crl";
    let set = run(&api, &["crl", "set", "d1", "meters", "--from", from, "--rate", "9/s"]);
    let said = "Not fetched yet; until then it refuses no device: certward crl show d1 meters\n";
    assert!(set.stderr.starts_with("Up to 120 sessions") && set.stderr.ends_with(said), "{}", set.stderr);
    assert_eq!(api.asked_lines(), [format!("GET {ALL_SESSIONS}"), format!("PUT {METERS}?closeRate=9")]);
    for wrong in [&["--from", "ldap://pki.example"][..], &["--file", "a", "--from", "http://b/"], &[]] {
        let api = Script::new(vec![SET]);
        let refused = run(&api, &[&["crl", "set", "d1", "meters"], wrong].concat());
        assert_eq!((refused.code, api.asked_lines().len()), (2, 0), "{wrong:?}: {}", refused.stderr);
    }
    let nothing = r#"{"code":"CRL_ALLOW_EMPTY","message":"No.","details":[{"code":"CRL_ALLOW_EMPTY","severity":"error","field":"url",
        "message":"CRLs may be fetched from nowhere: crl_allow of the configuration is empty.","remedy":"Set it."}]}"#;
    let api = Script::new(vec![(422, "", nothing)]);
    let refused = run(&api, &["crl", "set", "d1", "meters", "--from", "http://pki.example/meters.crl"]);
    assert!(refused.stderr.contains("CRL_ALLOW_EMPTY in --from"), "{}", refused.stderr);
}

#[test]
fn crls_are_listed_shown_and_removed() {
    let listed = format!("[{}]", SET.2);
    let listed: &'static str = listed.leak();
    let shown = run(&Script::new(vec![(200, "", listed)]), &["crl", "list", "d1"]);
    assert!(shown.stdout.contains("meters  CN=Meters  7"), "{}", shown.stdout);
    let none = run(&Script::new(vec![(200, "", "[]")]), &["crl", "list", "d1"]);
    assert_eq!(none.stdout, "d1 has no CRL.\n");
    let api = Script::new(vec![SET]);
    assert!(run(&api, &["crl", "show", "d1", "meters"]).stdout.contains("entries       3"));
    assert_eq!(api.asked_lines(), [format!("GET {METERS}")]);
    let api = Script::new(vec![DONE]);
    assert_eq!(run(&api, &["crl", "remove", "d1", "meters"]).code, 0);
    assert_eq!(api.asked_lines(), [format!("DELETE {METERS}")]);
    let gone = (404, "", r#"{"code":"CRL_NOT_FOUND","message":"No.","details":[]}"#);
    let gone = run(&Script::new(vec![gone]), &["crl", "show", "d1", "meters"]);
    assert!(gone.code == 1 && gone.stderr.contains("d1 has no CRL meters"), "{}", gone.stderr);
    assert_eq!(run(&Script::new(vec![DONE]), &["crl", "remove", "d1", "Meters.crl"]).code, 2);
}
