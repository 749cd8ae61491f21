//! The client commands against a scripted API.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod stage;

use std::path::Path;

use certward_test_support::Authority;
use stage::{Answer, Script, certward, finish};
use tempfile::TempDir;

const NONE: Answer = (200, "", "{}");
const ONE_WAY: Answer =
    (200, "", r#"{"tlsType":"one-way","expire":"2034-05-22 02:43:21","status":"running"}"#);
const TWO_WAY: Answer =
    (200, "", r#"{"tlsType":"two-way","expire":"2034-05-22 02:43:21","status":"running"}"#);
const PENDING: Answer =
    (200, "", r#"{"tlsType":"one-way","expire":"2034-05-22 02:43:21","status":"pending"}"#);
const TERMINATED: Answer = (200, "", r#"{"status":"terminated"}"#);
const FAILED: Answer = (
    200,
    "",
    r#"{"tlsType":"one-way","expire":"2034-05-22 02:43:21","status":"failed","reason":"No way in."}"#,
);
const NO_TLS: Answer = (404, "", r#"{"code":"TLS_NOT_FOUND","message":"None is set.","details":[]}"#);

const ACCEPTED: Answer = (200, "", r#"{"accepted":true,"findings":[]}"#);
const NOT_ACCEPTED: Answer = (
    200,
    "",
    r#"{"accepted":false,"findings":[{"code":"KEY_TYPE","severity":"error","field":"key","message":"No.","remedy":"Do."}]}"#,
);
const CHECKS_USED_UP: Answer =
    (429, "Retry-After: 60\r\n", r#"{"code":"RATE_LIMITED","message":"60 of 60.","details":[]}"#);

const GET: &str = "GET /public_api/v1/deployments/d1/tls";
const POST: &str = "POST /public_api/v1/deployments/d1/tls";
const CHECK: &str = "POST /public_api/v1/deployments/d1/tls/check";
const PUT: &str = "PUT /public_api/v1/deployments/d1/tls";

/// A certificate, its key, and a CA of devices.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let leaf = Authority::new("CA").server(&["mqtt.example.com"]);
    for (name, text) in [
        ("cert.pem", leaf.chain_pem.as_str()),
        ("key.pem", &leaf.key_pem),
        ("ca.pem", Authority::new("Devices").pem()),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

const SET: [&str; 7] = ["tls", "set", "d1", "--cert", "cert.pem", "--key", "key.pem"];

#[test]
fn tls_set_is_put_and_post_where_there_is_none() {
    let cases: [(&[Answer], &[&str], &[&str]); 9] = [
        (&[NONE, ACCEPTED, PENDING], &[], &[GET, CHECK, POST]),
        (&[TERMINATED, ACCEPTED, PENDING], &[], &[GET, CHECK, POST]),
        (&[ONE_WAY, ACCEPTED, PENDING], &[], &[GET, CHECK, PUT]),
        (&[ONE_WAY, CHECKS_USED_UP, PENDING], &[], &[GET, CHECK, PUT]),
        (&[FAILED, ACCEPTED, PENDING], &[], &[GET, CHECK, PUT]),
        (&[ONE_WAY, ACCEPTED, NO_TLS, PENDING], &[], &[GET, CHECK, PUT, POST]),
        (&[TWO_WAY, ACCEPTED, PENDING], &["--client-ca", "ca.pem"], &[GET, CHECK, PUT]),
        (&[TWO_WAY, ACCEPTED, PENDING], &["--keep-client-ca"], &[GET, CHECK, PUT]),
        (&[TWO_WAY, ACCEPTED, PENDING], &["--one-way"], &[GET, CHECK, PUT]),
    ];
    for (answers, flags, asked) in cases {
        let (folder, api) = (folder(), Script::new(answers.to_vec()));
        let run = finish(api.client(folder.path()).args(SET).args(flags));
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(api.asked_lines(), asked);
        assert!(run.stdout.contains("pending"), "{}", run.stdout);
    }
}

#[test]
fn a_rate_is_announced_with_its_sessions_and_sent_with_the_change() {
    const IMPACT: Answer = (
        200,
        "",
        r#"{"accepted":true,"findings":[],"impact":{"severity":"severe","connected":{"refused":1234,"of":2000}}}"#,
    );
    const SESSIONS: Answer = (200, "", r#"{"total":120,"sessions":[]}"#);
    const NO_GATEWAY: Answer = (404, "", r#"{"code":"NOT_FOUND","message":"None.","details":[]}"#);
    const DONE: Answer = (204, "", "");
    const NARROWER: Answer = (
        200,
        "",
        r#"[{"version":7,"tlsType":"one-way","proven":true,"status":"running"},
            {"version":4,"tlsType":"two-way","proven":true,"status":"superseded","clientCAs":[{"fingerprint":"ab"}]}]"#,
    );
    const DELETE: &str = "DELETE /public_api/v1/deployments/d1/tls?closeRate=50";
    const LIST: &str = "GET /public_api/v1/deployments/d1/sessions?limit=1";
    let put = &format!("{PUT}?closeRate=50");
    let set = [&SET[..], &["--client-ca", "ca.pem", "--force"]].concat();
    let delete = ["tls", "delete", "d1", "--yes"].to_vec();
    let rollback = ["tls", "rollback", "d1", "--yes"].to_vec();
    let versions = "GET /public_api/v1/deployments/d1/tls/versions";
    let back = "POST /public_api/v1/deployments/d1/tls/rollback?closeRate=50";
    for (command, answers, asked, said) in [
        (
            &set,
            &[TWO_WAY, IMPACT, PENDING][..],
            &[GET, CHECK, put][..],
            "1,234 sessions will be closed at 50/s: 25 s",
        ),
        (&set, &[TWO_WAY, ACCEPTED, PENDING], &[GET, CHECK, put], "how many is not known"),
        (&set, &[NONE, ACCEPTED, PENDING], &[GET, CHECK, POST], ""),
        (&delete, &[SESSIONS, DONE], &[LIST, DELETE], "120 sessions will be closed at 50/s: 3 s"),
        (&delete, &[NO_GATEWAY, DONE], &[LIST, DELETE], "how many is not known"),
        (
            &rollback,
            &[NARROWER, SESSIONS, PENDING],
            &[versions, LIST, back],
            "Up to 120 sessions will be closed",
        ),
    ] {
        let (folder, api) = (folder(), Script::new(answers.to_vec()));
        let run = finish(api.client(folder.path()).args(command).args(["--rate", "50/s"]));
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(api.asked_lines(), asked);
        assert!(run.stderr.contains(said) && run.stderr.is_empty() == said.is_empty(), "{}", run.stderr);
    }
    let folder = folder();
    let wrong = finish(certward(folder.path()).args(["tls", "delete", "d1", "--rate", "50"]));
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("for example 50/s"), "{}", wrong.stderr);
}

#[test]
fn an_upload_carries_the_files_and_the_key_is_basic() {
    let (folder, api) = (folder(), Script::new(vec![NONE, ACCEPTED, PENDING]));
    let run = finish(api.client(folder.path()).args(SET).args(["--client-ca", "ca.pem", "--json"]));
    assert_eq!(
        run.stdout.trim(),
        r#"{"expire":"2034-05-22 02:43:21","status":"pending","tlsType":"one-way"}"#
    );
    let asked = api.asked();
    let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let expected = serde_json::json!({"tlsType": "two-way", "cert": text("cert.pem"), "key": text("key.pem"), "cacert": text("ca.pem")});
    for request in &asked[1..] {
        let body: serde_json::Value =
            serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!(body, expected);
    }
    // "key1:hunter2"
    assert!(asked.iter().all(|request| request.contains("Basic a2V5MTpodW50ZXIy")), "{asked:?}");
}

#[test]
fn a_renewal_never_drops_client_verification_and_a_check_says_so_before() {
    let check = [&["tls", "check"], &SET[2..]].concat();
    for command in [&SET[..], &check] {
        let (folder, api) = (folder(), Script::new(vec![TWO_WAY]));
        let run = finish(api.client(folder.path()).args(command));
        assert_eq!((run.code, run.stdout.as_str()), (1, ""));
        assert!(
            run.stderr.contains("--client-ca FILE") && run.stderr.contains("--one-way"),
            "{}",
            run.stderr
        );
        assert_eq!(api.asked_lines(), [GET]);
    }
}

#[test]
fn client_cas_are_not_kept_where_there_are_none() {
    for answer in [NONE, TERMINATED] {
        let (folder, api) = (folder(), Script::new(vec![answer]));
        let run = finish(api.client(folder.path()).args(SET).arg("--keep-client-ca"));
        assert_eq!(run.code, 1);
        assert!(run.stderr.contains("d1 has no certificate yet"), "{}", run.stderr);
        assert_eq!(api.asked_lines(), [GET]);
    }
}

#[test]
fn what_would_be_refused_costs_no_change() {
    let folder_with = |name: &str, text: &str| {
        let folder = folder();
        std::fs::write(folder.path().join(name), text).unwrap();
        folder
    };
    let foreign = Authority::new("CA").server(&["mqtt.example.com"]);
    for (folder, says) in [
        (folder_with("cert.pem", "rubbish"), "in cert.pem"),
        (folder_with("key.pem", &foreign.key_pem), "error KEY_MISMATCH in key.pem"),
    ] {
        let api = Script::new(vec![]);
        let run = finish(api.client(folder.path()).args(SET));
        assert_eq!((run.code, run.stdout.as_str()), (1, ""));
        assert!(run.stderr.starts_with("certward: deployment d1: refused: 1 error"), "{}", run.stderr);
        assert!(run.stderr.contains(says), "{}", run.stderr);
        assert_eq!(api.asked_lines(), [""; 0], "it is judged here first");
    }
    let (folder, api) = (folder(), Script::new(vec![ONE_WAY, NOT_ACCEPTED]));
    let run = finish(api.client(folder.path()).args(SET));
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert!(
        run.stderr.contains("deployment d1: refused: 1 error\nerror KEY_TYPE in key.pem"),
        "{}",
        run.stderr
    );
    assert_eq!(api.asked_lines(), [GET, CHECK]);
}

#[test]
fn the_servers_clock_judges_not_this_machines() {
    let expired = Authority::new("CA").server_with(&["mqtt.example.com"], |params| {
        params.not_before = time::macros::datetime!(2020-01-01 00:00 UTC);
        params.not_after = time::macros::datetime!(2021-01-01 00:00 UTC);
    });
    let (folder, api) = (folder(), Script::new(vec![ONE_WAY, ACCEPTED, PENDING]));
    std::fs::write(folder.path().join("cert.pem"), &expired.chain_pem).unwrap();
    std::fs::write(folder.path().join("key.pem"), &expired.key_pem).unwrap();
    let run = finish(api.client(folder.path()).args(SET));
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(api.asked_lines(), [GET, CHECK, PUT]);
}

#[test]
fn nodes_that_are_waited_for_or_left_out_are_named() {
    const LEFT_OUT: Answer = (200, "", r#"{"status":"pending","waitingFor":["n1","n2"],"leftOut":["n3"]}"#);
    const WAITING: Answer = (200, "", r#"{"status":"pending","waitingFor":["n2"],"leftOut":["n3"]}"#);
    let (folder, api) = (folder(), Script::new(vec![NONE, ACCEPTED, LEFT_OUT, WAITING, ONE_WAY]));
    let run = finish(api.client(folder.path()).args(SET).arg("--wait"));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let said: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(
        said,
        [
            "certward: left out, because lost: n3",
            "certward: waiting for the nodes n2; left out, because lost: n3"
        ]
    );
}

#[test]
fn what_is_set_is_not_named_by_flags() {
    let answer = r#"{"status":"running","warnings":[{"code":"CA_EXPIRES_SOON","severity":"warning","field":"cacert",
        "item":{"index":0},"message":"Block 0 of cacert ends soon.","remedy":"Renew it."}]}"#;
    let (folder, api) = (folder(), Script::new(vec![(200, "", answer)]));
    let run = finish(api.client(folder.path()).args(["tls", "show", "d1"]));
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.contains("warning CA_EXPIRES_SOON in its client CAs, 1st"), "{}", run.stdout);
    assert!(run.stdout.contains("The 1st block of its client CAs ends soon."), "{}", run.stdout);
}

#[test]
fn wait_goes_on_while_a_proxy_does_not_reach_the_api() {
    let (folder, api) = (folder(), Script::new(vec![NONE, ACCEPTED, PENDING, (502, "", "<html>"), ONE_WAY]));
    let run = finish(api.client(folder.path()).args(SET).arg("--wait"));
    assert_eq!(run.code, 0, "{}", run.stderr);
}

#[test]
fn a_pause_beyond_the_end_of_waiting_ends_it() {
    let busy = "Retry-After: 18446744073709551615\r\n";
    let body = r#"{"code":"STORE_UNAVAILABLE","message":"Not now.","details":[]}"#;
    let (folder, api) = (folder(), Script::new(vec![(204, "", ""), (503, busy, body)]));
    let run = finish(api.client(folder.path()).args(["tls", "delete", "d1", "--wait"]));
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("STORE_UNAVAILABLE"), "{}", run.stderr);
}

#[test]
fn an_upload_that_decides_nothing_cannot_end_two_way() {
    for (flags, sent) in [(&[] as &[&str], "keep"), (&["--one-way"], "one-way")] {
        let (folder, api) = (folder(), Script::new(vec![ONE_WAY, ACCEPTED, PENDING]));
        let run = finish(api.client(folder.path()).args(SET).args(flags));
        assert_eq!(run.code, 0, "{}", run.stderr);
        for request in &api.asked()[1..] {
            assert!(request.contains(&format!(r#""tlsType":"{sent}""#)), "{request}");
        }
    }
}

#[test]
fn wait_holds_until_it_runs_or_fails() {
    const BUSY: Answer =
        (503, "Retry-After: 1\r\n", r#"{"code":"STORE_UNAVAILABLE","message":"Not now.","details":[]}"#);
    for (last, code) in [(ONE_WAY, 0), (FAILED, 1)] {
        let (folder, api) = (folder(), Script::new(vec![NONE, ACCEPTED, PENDING, BUSY, last]));
        let run = finish(api.client(folder.path()).args(SET).arg("--wait"));
        assert_eq!(run.code, code, "{}", run.stderr);
        assert_eq!(run.stdout.contains("No way in."), code == 1, "{}", run.stdout);
        let asked = api.asked();
        for (request, hold) in [(3, "prefer: wait=2"), (4, "prefer: wait=5")] {
            assert!(asked[request].to_ascii_lowercase().contains(hold), "{}", asked[request]);
        }
    }
}

#[test]
fn delete_waits_until_all_nodes_have_confirmed() {
    let (folder, api) = (folder(), Script::new(vec![(204, "", ""), NONE]));
    let run = finish(api.client(folder.path()).args(["tls", "delete", "d1", "--wait"]));
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(api.asked_lines(), ["DELETE /public_api/v1/deployments/d1/tls", GET]);
}

#[test]
fn a_refusal_says_what_to_do_next_and_no_secret() {
    let finding = r#"{"code":"KEY_MISMATCH","message":"The key is not the leaf's.","details":[{"code":"KEY_MISMATCH",
        "severity":"error","field":"key","message":"The key is not the leaf's.","remedy":"Send its own."}]}"#;
    let cases: [(Answer, &str); 6] = [
        ((401, "", r#"{"code":"UNAUTHORIZED","message":"No."}"#), "CERTWARD_SECRET_KEY"),
        ((429, "Retry-After: 120\r\n", r#"{"code":"RATE_LIMITED","message":"No."}"#), "Try again in 120 s"),
        ((422, "", finding), "deployment d1: refused: 1 error\nerror KEY_MISMATCH in --key"),
        ((404, "", "<html>"), "is not certward's API"),
        ((200, "", "<html>"), "is not certward's API"),
        ((302, "Location: http://127.0.0.1:1/\r\n", ""), "is not certward's API"),
    ];
    for (answer, says) in cases {
        let (folder, api) = (folder(), Script::new(vec![answer]));
        let run = finish(api.client(folder.path()).args(["tls", "show", "d1"]));
        assert_eq!((run.code, run.stdout.as_str()), (1, ""));
        assert!(run.stderr.contains(says), "{}", run.stderr);
        assert!(!run.stderr.contains("hunter2"), "{}", run.stderr);
    }
}

#[test]
fn a_refused_upload_names_the_file_its_line_and_the_flag() {
    let finding = r#"{"code":"KEY_ENCRYPTED","message":"m","details":[{"code":"KEY_ENCRYPTED","severity":"error",
        "field":"cert","item":{"index":0},"message":"Block 0 of cert is encrypted.","remedy":"Send it as keyPassword."}]}"#;
    let (folder, api) = (folder(), Script::new(vec![NONE, ACCEPTED, (422, "", finding)]));
    let cert = folder.path().join("cert.pem");
    let blocks = std::fs::read_to_string(&cert).unwrap();
    std::fs::write(cert, format!("text\n{blocks}")).unwrap();
    let run = finish(api.client(folder.path()).args(SET));
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert!(
        run.stderr.contains(
            "error KEY_ENCRYPTED in cert.pem, 1st certificate (line 2)\n    The 1st certificate (line 2) of cert.pem is encrypted."
        ) && run.stderr.contains("use --key-password-file PASSPHRASE-FILE"),
        "{}",
        run.stderr
    );
}

#[test]
fn an_address_without_a_listener_is_named() {
    let folder = folder();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = certward(folder.path());
    command.args([
        "key",
        "list",
        "--api-key",
        "k",
        "--secret-key",
        "hunter2",
        "--url",
        &format!("http://{free}/public_api/v1"),
    ]);
    let run = finish(&mut command);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("is `certward serve` running"), "{}", run.stderr);
    assert!(run.stderr.contains(&free.to_string()) && !run.stderr.contains("hunter2"), "{}", run.stderr);
}

#[test]
fn a_proxy_is_not_asked_for_loopback() {
    let (folder, api) = (folder(), Script::new(vec![ONE_WAY]));
    let mut command = api.client(folder.path());
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env(name, "http://127.0.0.1:1");
    }
    let run = finish(command.args(["tls", "show", "d1"]));
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.contains("2034-05-22 02:43:21"), "{}", run.stdout);
}

#[test]
fn what_is_asked_wrongly_is_never_sent() {
    let folder = folder();
    std::fs::write(folder.path().join("rubbish.pem"), "rubbish").unwrap();
    let cases: [(&[&str], &str); 7] = [
        (&["tls", "show", "../x"], "is not a deployment id"),
        (&["project", "remove", "A"], "is not a project id"),
        (&["key", "revoke", "a/b"], "letters and digits"),
        (&["tls", "set", "d1", "--cert", "none.pem", "--key", "key.pem"], "cannot read none.pem"),
        (&["tls", "show", "d1", "--url", "localhost:8080"], "CERTWARD_URL"),
        (&["tls", "show", "d1", "--ca", "rubbish.pem"], "holds no PEM certificate"),
        (&["tls", "show", "d1", "--secret-key", ""], "set CERTWARD_SECRET_KEY"),
    ];
    for (arguments, says) in cases {
        let api = Script::new(vec![]);
        let run = finish(api.client(folder.path()).args(arguments));
        assert_eq!(run.code, 2, "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(says), "{arguments:?}: {}", run.stderr);
    }
}

#[test]
fn people_get_tables() {
    let cases: [(&[&str], Answer, &str); 5] = [
        (
            &["project", "list"],
            (200, "", r#"[{"projectID":"default","projectName":"","description":"d"}]"#),
            "ID       NAME  DESCRIPTION\ndefault  -     d\n",
        ),
        (
            &["project", "list"],
            (
                200,
                "",
                r#"[{"projectID":"p","projectName":"a\u202eb\u2028c","description":"","upstreamAllow":["10.0.0.0/8","b:1"],"hostSuffixes":["x.y"]}]"#,
            ),
            "ID  NAME                 DESCRIPTION  UPSTREAM-ALLOW  HOST-SUFFIXES\np   a\\u{202e}b\\u{2028}c  -            10.0.0.0/8 b:1  x.y\n",
        ),
        (
            &["deployment", "list"],
            (
                200,
                "",
                r#"[{"deploymentID":"d1","deploymentName":"n","projectName":"p","status":"running","createAt":"2024-11-21 02:51"}]"#,
            ),
            "ID  NAME  PROJECT  STATUS   HOSTS  CERTIFICATE  ENDS  CONNECTED  CREATED\nd1  n     p        running  -      none         -     0          2024-11-21 02:51\n",
        ),
        (
            &["key", "list"],
            (
                200,
                "",
                r#"[{"apiKey":"k","name":"ci\u001b[2J","scopes":["tls","tls:read"],"createAt":"2024-11-21 02:51"}]"#,
            ),
            "API KEY  NAME         SCOPES        PROJECTS  CREATED           ENDS\nk        ci\\u{1b}[2J  tls tls:read  all       2024-11-21 02:51  never\n",
        ),
        (&["tls", "show", "d1"], NONE, "No certificate is set.\n"),
    ];
    for (arguments, answer, text) in cases {
        let (folder, api) = (folder(), Script::new(vec![answer]));
        let run = finish(api.client(folder.path()).args(arguments));
        assert_eq!((run.code, run.stdout.as_str()), (0, text), "{}", run.stderr);
    }
}

#[test]
fn json_is_the_answer_as_it_came() {
    let answer = r#"[{"apiKey":"k","later":"field"}]"#;
    let (folder, api) = (folder(), Script::new(vec![(200, "", answer)]));
    let run = finish(api.client(folder.path()).args(["key", "list", "--json"]));
    assert_eq!(run.stdout.trim(), answer);
}

#[test]
fn a_new_keys_secret_is_shown_once_on_stdout() {
    let answer = r#"{"apiKey":"k","name":"ci","scopes":["tls"],"secretKey":"s3"}"#;
    let (folder, api) = (folder(), Script::new(vec![(201, "", answer), (201, "", answer)]));
    let create = ["key", "create", "--name", "ci", "--scope", "tls", "--project", "lab"];
    let run = finish(api.client(folder.path()).args(create));
    assert_eq!(run.stdout, "api key     k\nsecret key  s3\n");
    let run = finish(api.client(folder.path()).args(create).arg("--json"));
    assert_eq!(run.stdout.trim(), answer);
    assert!(api.asked()[0].ends_with(r#"{"name":"ci","projects":["lab"],"scopes":["tls"]}"#));
}

#[test]
fn deployments_are_added_and_changed_by_what_is_named() {
    let answer = r#"{"deploymentID":"d1","deploymentName":"n","projectID":"lab","upstream":"b:1883","hosts":["a.example"],"recordBytes":512,"maxSessionAge":604800}"#;
    let cases: [(&[&str], &str, &str); 7] = [
        (
            &[
                "add",
                "d1",
                "--upstream",
                "b:1883",
                "--ws-upstream",
                "b:8083",
                "--host",
                "a.example",
                "--name",
                "n",
                "--project",
                "lab",
            ],
            "POST /public_api/v1/deployments",
            r#"{"deploymentID":"d1","deploymentName":"n","hosts":["a.example"],"projectID":"lab","upstream":"b:1883","wsUpstream":"b:8083"}"#,
        ),
        (
            &["set", "d1", "--no-ws-upstream", "--no-hosts"],
            "PATCH /public_api/v1/deployments/d1",
            r#"{"hosts":[],"wsUpstream":null}"#,
        ),
        (
            &["set", "d1", "--upstream", "b:1884"],
            "PATCH /public_api/v1/deployments/d1",
            r#"{"upstream":"b:1884"}"#,
        ),
        (
            &["set", "d1", "--connections", "1000", "--connection-rate", "0"],
            "PATCH /public_api/v1/deployments/d1",
            r#"{"connectionRate":0,"connections":1000}"#,
        ),
        (
            &["set", "d1", "--record-bytes", "512"],
            "PATCH /public_api/v1/deployments/d1",
            r#"{"recordBytes":512}"#,
        ),
        (
            &["set", "d1", "--max-session-age", "7d"],
            "PATCH /public_api/v1/deployments/d1",
            r#"{"maxSessionAge":604800}"#,
        ),
        (
            &["set", "d1", "--max-session-age", "0"],
            "PATCH /public_api/v1/deployments/d1",
            r#"{"maxSessionAge":0}"#,
        ),
    ];
    for (arguments, line, body) in cases {
        let (folder, api) = (folder(), Script::new(vec![(200, "", answer)]));
        let run = finish(api.client(folder.path()).arg("deployment").args(arguments));
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(run.stdout.contains("upstream     b:1883"), "{}", run.stdout);
        assert!(run.stdout.contains("records      up to 512 bytes"), "{}", run.stdout);
        assert!(run.stdout.contains("session age  up to 7d"), "{}", run.stdout);
        let asked = api.asked();
        assert!(asked[0].starts_with(line) && asked[0].ends_with(body), "{}", asked[0]);
    }
}

#[test]
fn check_on_the_server_ends_as_the_verdict_is() {
    let accepted = r#"{"accepted":true,"findings":[],"serves":{"tlsType":"one-way","expire":"2034-05-22 02:43:21","chainLength":2,"clientCas":0}}"#;
    let refused = r#"{"accepted":false,"findings":[{"code":"A","severity":"error","field":"cert","message":"m","remedy":"r"}]}"#;
    for (answer, code, says) in [(accepted, 0, "accepted: no findings"), (refused, 1, "refused: 1 error")] {
        let (folder, api) = (folder(), Script::new(vec![(200, "", "{}"), (200, "", answer)]));
        let run = finish(
            api.client(folder.path()).args(["tls", "check", "d1", "--cert", "cert.pem", "--key", "key.pem"]),
        );
        assert_eq!(run.code, code, "{}", run.stderr);
        assert!(run.stdout.starts_with(says), "{}", run.stdout);
        assert_eq!(
            api.asked_lines(),
            ["GET /public_api/v1/deployments/d1/tls", "POST /public_api/v1/deployments/d1/tls/check"]
        );
    }
}

#[test]
fn a_forgotten_flag_is_named_alone() {
    let (folder, api) = (folder(), Script::new(vec![]));
    let run = finish(api.client(folder.path()).args(["tls", "set", "d1", "--key", "key.pem"]));
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("--cert <FILE>"), "{}", run.stderr);
    for given in ["--url", "--api-key", "--secret-key"] {
        assert!(!run.stderr.contains(given), "{}", run.stderr);
    }
}

#[test]
fn help_shows_no_value_of_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [["tls", "set", "--help"], ["key", "create", "--help"]] {
        let mut command = certward(Path::new(folder.path()));
        command.env("CERTWARD_SECRET_KEY", "hunter2").env("CERTWARD_URL", "http://u:hunter2@h/");
        let run = finish(command.args(arguments));
        assert_eq!(run.code, 0);
        assert!(
            run.stdout.contains("CERTWARD_SECRET_KEY") && !run.stdout.contains("hunter2"),
            "{}",
            run.stdout
        );
    }
}

#[test]
fn pages_are_followed_on_the_known_base_only() {
    const FIRST: Answer = (
        200,
        "Link: <http://127.0.0.1:1/other?within=30d&after=7.8>; rel=\"next\"\r\n",
        r#"[{"kind":"leaf","subject":"CN=a","expire":"2034-05-22 02:43:21","deploymentID":"d1"}]"#,
    );
    const LAST: Answer =
        (200, "", r#"[{"kind":"apiKey","subject":"k","expire":"2034-05-23 02:43:21","apiKey":"k1"}]"#);
    let (folder, api) = (folder(), Script::new(vec![FIRST, LAST]));
    let run = finish(api.client(folder.path()).args(["expiring", "--json"]));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let found: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&found[0]["deploymentID"], &found[1]["apiKey"]), (&"d1".into(), &"k1".into()));
    assert_eq!(
        api.asked_lines(),
        [
            "GET /public_api/v1/expiring?within=30d&limit=1000",
            "GET /public_api/v1/expiring?within=30d&after=7.8"
        ]
    );
}

#[test]
fn a_failed_alert_test_is_exit_code_1_and_says_what_to_do() {
    const FAILED_TEST: Answer = (
        200,
        "",
        r#"{"delivered":false,"failure":"not_allowed","message":"Not delivered: the address is not allowed."}"#,
    );
    for (flags, stdout) in [(&[][..], false), (&["--json"][..], true)] {
        let (folder, api) = (folder(), Script::new(vec![FAILED_TEST]));
        let run = finish(api.client(folder.path()).args(["alert", "test", "c1"]).args(flags));
        assert_eq!((run.code, run.stdout.contains("not_allowed")), (1, stdout), "{}", run.stderr);
        assert_eq!(run.stderr.contains("alert_allow") && run.stderr.contains("alert test c1"), !stdout);
        assert_eq!(api.asked_lines(), ["POST /public_api/v1/alert-channels/c1/test"]);
    }
}
