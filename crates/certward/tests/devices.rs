//! `certward devices` and `certward sessions` against a scripted API.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod stage;

use stage::{Answer, Run, Script, finish, pseudo_terminal::PseudoTerminal};

const ID: &str = "5d41402abc4b2a76b9719d911017c592";
const DEVICES: &str = "GET /public_api/v1/deployments/d1/devices?limit=1000";
const SESSIONS: &str = "/public_api/v1/deployments/d1/sessions";

const FIRST: Answer = (
    200,
    "Link: </public_api/v1/deployments/d1/devices?limit=1000&after=01>; rel=\"next\"\r\nCertward-Silent-Nodes: n2, n3\r\n",
    r#"[{"id":"01","name":"=cmd","issuer":"CN=Meters, O=X","serial":"0a","fingerprint":"f1","clientCA":"c1",
        "notAfter":"2099-05-22 02:43:21","firstSeenAt":"2034-01-01 00:00:00","lastSeenAt":"2034-01-02 00:00:00",
        "host":"a.example","tlsVersion":"1.3","connected":true,"address":"192.0.2.1"}]"#,
);
const LAST: Answer = (
    200,
    "Certward-Silent-Nodes: n2, n3\r\n",
    r#"[{"id":"02","name":"meter-2","notAfter":"2099-05-22 02:43:21","connected":false}]"#,
);
const NONE: Answer = (200, "", "[]");
const UNKNOWN: Answer = (404, "", r#"{"code":"NOT_FOUND","message":"No.","details":[]}"#);
const NO_DEPLOYMENT: Answer = (404, "", r#"{"code":"DEPLOYMENT_NOT_FOUND","message":"No.","details":[]}"#);
const DONE: Answer = (204, "", "");
const TWO: Answer = (
    200,
    "",
    r#"{"total":2,"sessions":[{"node":"n1","device":"01","name":"meter-1","address":"192.0.2.7","port":50123,
        "listener":"mqtts","tlsVersion":"1.3","since":"2034-01-02 00:00:00"}],"silentNodes":[]}"#,
);
const CLOSED: Answer = (200, "", r#"{"closed":2,"silentNodes":[]}"#);
const CLOSED_IN_PART: Answer = (200, "", r#"{"closed":1,"silentNodes":["n2"]}"#);
const LIMITED: Answer = (429, "Retry-After: 9\r\n", r#"{"code":"RATE_LIMITED","message":"No."}"#);

fn run(answers: &[Answer], arguments: &[&str]) -> (Run, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let api = Script::new(answers.to_vec());
    let run = finish(api.client(folder.path()).args(arguments));
    (run, api.asked_lines().iter().map(ToString::to_string).collect())
}

#[test]
fn all_pages_are_listed_and_the_nodes_that_are_missing_named_once() {
    let (table, asked) = run(&[FIRST, LAST], &["devices", "d1"]);
    assert_eq!(table.code, 0, "{}", table.stderr);
    assert_eq!(asked, [DEVICES, &format!("{DEVICES}&after=01")]);
    let lines: Vec<&str> = table.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", table.stdout);
    assert!(
        lines[1].starts_with("01  =cmd     yes ") && lines[2].starts_with("02  meter-2  no "),
        "{lines:?}"
    );
    assert_eq!(table.stderr.matches("no answer in time from n2, n3").count(), 1, "{}", table.stderr);
    let (json, _) = run(&[FIRST, LAST], &["devices", "d1", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&listed[0]["id"], &listed[1]["id"]), (&"01".into(), &"02".into()));
    let (nothing, _) = run(&[NONE], &["devices", "d1"]);
    assert!(nothing.stdout.contains("certward devices summary d1"), "{}", nothing.stdout);
}

#[test]
fn values_for_spreadsheets_have_all_fields_and_no_formula() {
    let (csv, _) = run(&[FIRST, LAST], &["devices", "d1", "--csv"]);
    assert_eq!(
        csv.stdout,
        "id,name,issuer,serial,fingerprint,clientCA,notAfter,firstSeenAt,lastSeenAt,host,tlsVersion,connected,address\n\
         01,'=cmd,\"CN=Meters, O=X\",0a,f1,c1,2099-05-22 02:43:21,2034-01-01 00:00:00,2034-01-02 00:00:00,a.example,1.3,true,192.0.2.1\n\
         02,meter-2,,,,,2099-05-22 02:43:21,,,,,false,\n"
    );
    assert!(csv.stderr.contains("n2, n3"), "{}", csv.stderr);
    let (nothing, _) = run(&[NONE], &["devices", "d1", "--csv"]);
    assert_eq!(nothing.stdout.lines().count(), 1);
}

#[test]
fn a_device_is_forgotten_or_said_not_to_be_there() {
    let (done, asked) = run(&[DONE], &["devices", "forget", "d1", ID]);
    assert_eq!((done.code, done.stdout.as_str()), (0, &*format!("Forgot the device {ID}.\n")));
    assert_eq!(asked, [format!("DELETE /public_api/v1/deployments/d1/devices/{ID}")]);
    let (unknown, _) = run(&[UNKNOWN], &["devices", "forget", "d1", ID]);
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains("`certward devices d1` lists them"), "{}", unknown.stderr);
    let (elsewhere, _) = run(&[NO_DEPLOYMENT], &["devices", "forget", "d1", ID]);
    assert!(
        elsewhere.code == 1 && elsewhere.stderr.contains("certward deployment list"),
        "{}",
        elsewhere.stderr
    );
    for device in ["meter-7", "5D41402abc4b2a76b9719d911017c592", ""] {
        let (wrong, asked) = run(&[], &["devices", "forget", "d1", device]);
        assert_eq!((wrong.code, asked.len()), (2, 0), "{device}");
        assert!(wrong.stderr.contains("is not a device id"), "{}", wrong.stderr);
    }
}

#[test]
fn a_summary_asks_for_its_days() {
    let summary = (200, "", r#"{"sessions":1,"known":2,"silentNodes":["*"],"hosts":[],"offers":[]}"#);
    let (found, asked) = run(&[summary], &["devices", "summary", "d1", "--days", "30"]);
    assert_eq!(asked, ["GET /public_api/v1/deployments/d1/devices/summary?days=30"]);
    assert!(found.stdout.contains("sessions now   1\nknown devices  2\n"), "{}", found.stdout);
    assert!(found.stderr.contains("the other nodes could not be asked"), "{}", found.stderr);
}

#[test]
fn sessions_are_listed_by_device_and_by_address() {
    for (flags, query) in [
        (&[][..], "limit=100".to_owned()),
        (&["--device", ID, "--limit", "7"], format!("device={ID}&limit=7")),
        (&["--address", "2001:DB8::1"], "address=2001:db8::1&limit=100".to_owned()),
    ] {
        let (found, asked) = run(&[TWO], &[&["sessions", "d1"], flags].concat());
        assert_eq!(asked, [format!("GET {SESSIONS}?{query}")]);
        assert!(found.stdout.contains("192.0.2.7  50123  meter-1"), "{}", found.stdout);
        assert!(found.stderr.contains("The newest 1 of 2"), "{}", found.stderr);
    }
    let none = (200, "", r#"{"total":0,"sessions":[],"silentNodes":[]}"#);
    let (nothing, _) = run(&[none], &["sessions", "d1", "--address", "192.0.2.7"]);
    assert_eq!(nothing.stdout, "No sessions from 192.0.2.7.\n");
}

#[test]
fn sessions_are_closed_and_nodes_without_an_answer_are_no_success() {
    for (answer, code, said) in [(CLOSED, 0, "Closed 2 sessions"), (CLOSED_IN_PART, 1, "Closed 1 session")] {
        let (closed, asked) = run(&[answer], &["sessions", "close", "d1", "--device", ID]);
        assert_eq!(asked, [format!("DELETE {SESSIONS}?device={ID}")]);
        assert_eq!(closed.code, code, "{}", closed.stderr);
        assert_eq!(closed.stdout, format!("{said} of the device {ID}.\n"));
        assert_eq!(closed.stderr.contains("n2; their sessions may go on"), code == 1, "{}", closed.stderr);
    }
}

#[test]
fn a_node_that_identifies_no_devices_is_named_and_no_success() {
    for (answer, said) in [
        (r#"{"closed":0,"anonymousNodes":["n1","n2"],"silentNodes":[]}"#, String::new()),
        (
            r#"{"closed":1,"anonymousNodes":["n2"],"silentNodes":[]}"#,
            format!("Closed 1 session of the device {ID}.\n"),
        ),
    ] {
        let (closed, _) = run(&[(200, "", answer)], &["sessions", "close", "d1", "--device", ID]);
        assert_eq!((closed.code, closed.stdout), (1, said));
        assert!(closed.stderr.contains("n2, which identify no devices; "), "{}", closed.stderr);
        assert!(closed.stderr.contains("--address"), "{}", closed.stderr);
    }
    let none = (200, "", r#"{"total":0,"sessions":[],"anonymousNodes":["n1"],"silentNodes":[]}"#);
    let (nothing, _) = run(&[none], &["sessions", "d1", "--device", ID]);
    assert_eq!((nothing.code, &*nothing.stdout), (0, ""));
    assert!(nothing.stderr.contains("at n1, which identify no devices; "), "{}", nothing.stderr);
}

#[test]
fn a_person_is_asked_before_sessions_are_closed() {
    let close = ["sessions", "close", "d1", "--address", "192.0.2.7"];
    for (first, answer, goes_on, said) in [
        (TWO, "y", true, "closes 2 sessions from 192.0.2.7 at d1"),
        (TWO, "", false, "closes 2 sessions from 192.0.2.7 at d1"),
        (LIMITED, "y", true, "closes all sessions from 192.0.2.7 at d1"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let api = Script::new(vec![first, CLOSED]);
        let mut terminal = PseudoTerminal::start(api.client(folder.path()).args(close));
        terminal.answer("Go on? [y/N] ", answer);
        let run = terminal.finish();
        assert_eq!(run.code, if goes_on { 0 } else { 1 }, "{}", run.stderr);
        assert!(run.stderr.contains(said), "{}", run.stderr);
        assert_eq!(api.asked_lines().len(), if goes_on { 2 } else { 1 });
    }
    let folder = tempfile::tempdir().unwrap();
    let api = Script::new(vec![CLOSED]);
    let run = PseudoTerminal::start(api.client(folder.path()).args(close).arg("--yes")).finish();
    assert_eq!((run.code, api.asked_lines().len()), (0, 1), "{}", run.stderr);
}
