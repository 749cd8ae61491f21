//! The commands about what ends, with the real program: status, expiring, alert, key --expires.

use std::{fs, process::Output, time::Duration};

use certward_store::{Clock, SystemClock};
use certward_test_support::Receiver;
use certward_tests::{Authority, Certward, Setup, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = HOUR.saturating_mul(24);

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn out_json(output: &Output) -> Value {
    serde_json::from_str(&out(output)).unwrap_or_else(|error| panic!("no JSON ({error}): {}", out(output)))
}

/// The exit code and stderr, without a result.
fn refused(output: &Output) -> (Option<i32>, String) {
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

struct Shell {
    certward: Certward,
    authority: Authority,
    _folder: TempDir,
}

impl Shell {
    fn start() -> Self {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("Test Server CA"));
        let ca_file = authority.write(folder.path(), "ca.pem");
        let setup = Setup { alerts: Some(("127.0.0.1", ca_file)), ..Setup::default() };
        Self { certward: Certward::start_with(setup), authority, _folder: folder }
    }

    fn run(&self, line: &str) -> Output {
        self.certward.cli(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// A deployment with a certificate of 90 days, of which so much is left.
    fn serve(&self, id: &str, left: Duration) {
        let host = format!("{id}.example");
        let leaf = self.authority.server_with(&[&host], |params| {
            params.not_after = SystemClock.now().to_time() + left;
            params.not_before = params.not_after - 90 * DAY;
        });
        leaf.write(self.certward.folder(), id);
        out(&self.run(&format!("deployment add {id} --upstream 127.0.0.1:1883 --host {host}")));
        out(&self.run(&format!("tls set {id} --cert {id}.pem --key {id}.key --wait")));
    }
}

#[test]
fn status_shows_what_needs_attention_first() {
    let shell = Shell::start();
    assert!(out(&shell.run("status")).contains("certward deployment add"));
    assert_eq!(out_json(&shell.run("status --json")), json!([]));
    out(&shell.run("deployment add bare --upstream 127.0.0.1:1883"));
    shell.serve("early", 60 * DAY + HOUR);
    shell.serve("soon", 2 * DAY + HOUR);
    shell.serve("old", Duration::from_secs(12));

    // Listing after a change takes a moment, and the certificate must end.
    let status = wait_until("the expired one", || {
        let status = out(&shell.run("status"));
        let settled = status.contains(" expired\n") && status.contains(" ends soon\n");
        settled.then_some(status)
    });
    let lines: Vec<&str> = status.lines().collect();
    assert_eq!(lines[0], "4 deployments: 2 need attention");
    assert!(lines[2].starts_with("ID ") && lines[2].ends_with("ATTENTION"), "{status}");
    for (line, id, words) in [
        (lines[3], "old ", "expired "),
        (lines[4], "soon ", "in 2 days"),
        (lines[5], "early ", "in 60 days"),
        (lines[6], "bare ", "no certificate"),
    ] {
        assert!(line.starts_with(id) && line.contains(words), "{status}");
    }
    assert!(!status.contains('\u{1b}'), "no colours into a pipe");
    let json = out_json(&shell.run("status --json"));
    let ids: Vec<&str> =
        json.as_array().unwrap().iter().map(|it| it["deploymentID"].as_str().unwrap()).collect();
    assert_eq!(ids, ["old", "soon", "early", "bare"]);

    let shown = out(&shell.run("tls show old"));
    assert!(shown.contains(" (expired ") && shown.contains("error LEAF_EXPIRED"), "{shown}");
    let list = out(&shell.run("deployment list"));
    assert!(list.contains("in 60 days") && list.contains("CERTIFICATE"), "{list}");
}

#[test]
fn expiring_lists_over_all_pages() {
    let shell = Shell::start();
    assert_eq!(out(&shell.run("expiring --within 12h")), "Nothing ends within 12h.\n");
    assert_eq!(out_json(&shell.run("expiring --json")), json!([]));
    shell.serve("line1", 29 * DAY + HOUR);
    let key = out_json(&shell.run("key create --name renewals --expires 40d --json"));
    let listed = |line: &str| out_json(&shell.run(line)).as_array().unwrap().clone();
    wait_until("both", || (listed("expiring --within 41d --json").len() == 2).then_some(()));
    let table = out(&shell.run("expiring"));
    assert!(
        table.contains("line1") && table.contains("in 29 days") && !table.contains("renewals"),
        "{table}"
    );
    let table = out(&shell.run("expiring --within 41d"));
    assert!(table.contains("renewals") && table.contains(key["apiKey"].as_str().unwrap()), "{table}");
    assert_eq!(refused(&shell.run("expiring --within soon")).0, Some(2));

    // More than a page.
    let body =
        |n| json!({"name": format!("key {n}"), "scopes": ["tls:read"], "expiresAt": "2039-01-01 00:00:00"});
    for n in 0..1001 {
        shell.certward.api().send("POST", "/keys", Some(&body(n))).expect(201);
    }
    wait_until("all keys", || (listed("expiring --within 36500d --json").len() >= 1003).then_some(()));
}

#[test]
fn a_key_ends_when_it_is_told_to() {
    let shell = Shell::start();
    for (end, shown) in [
        ("90d", "(in 89 days)"),
        ("2039-01-31", "2039-01-31 00:00:00"),
        ("2039-01-31T01:00:00+01:00", "2039-01-31 00:00:00"),
    ] {
        let created = out(&shell.run(&format!("key create --name robot --expires {end}")));
        assert!(created.contains(shown), "{created}");
        assert!(out(&shell.run("key list")).contains(shown), "{end}");
    }
    assert!(out(&shell.run("key list")).contains("never"), "the first key");
    let (code, text) = refused(&shell.run("key create --name robot --expires 2020-01-01"));
    assert!(code == Some(1) && text.contains("--expires is in the past"), "{text}");
    assert_eq!(refused(&shell.run("key create --name robot --expires tomorrow")).0, Some(2));
}

#[test]
fn alerts_go_to_channels_that_can_be_tested() {
    let shell = Shell::start();
    let good = Receiver::http(None, SECRET, &json!({}));
    let bad = Receiver::http(None, SECRET, &json!({"answer": 503}));
    let url = |receiver: &Receiver| format!("http://127.0.0.1:{}/secret-path", receiver.port);
    assert!(out(&shell.run("alert channel list")).contains("certward alert channel add"));
    assert!(out(&shell.run("alert list")).contains("No alerts yet"));
    fs::write(shell.certward.folder().join("secret"), format!("{SECRET}\n")).unwrap();
    fs::write(shell.certward.folder().join("url"), url(&bad) + "\n").unwrap();
    let add = |line: &str| out_json(&shell.run(&format!("alert channel add {line} --json")));
    let chat = add(&format!("--webhook {} --secret-file secret --name Chat", url(&good)));
    assert_eq!(chat["secret"], SECRET);
    let broken = add("--webhook-file url --project default");
    let mail =
        add("--mail 127.0.0.1:9 --from a@example.com --to b@example.com c@example.com --security plain");
    assert_eq!((&mail["port"], &mail["to"]), (&json!(9), &json!(["b@example.com", "c@example.com"])));
    let list = out(&shell.run("alert channel list"));
    let shown = ["Chat", "mail", "b@example.com c@example.com by 127.0.0.1:9 (plain)", "default"];
    assert!(shown.into_iter().all(|text| list.contains(text)), "{list}");
    assert!(!list.contains("secret-path") && !list.contains("whsec_"), "{list}");

    let id = |channel: &Value| channel["channelID"].as_str().unwrap().to_owned();
    assert!(out(&shell.run(&format!("alert test {}", id(&chat)))).contains("accepted"));
    assert_eq!(good.record()[0]["signed"], true);
    for (channel, why) in [(&broken, "status 503"), (&mail, "no connection")] {
        let (code, text) = refused(&shell.run(&format!("alert test {}", id(channel))));
        let retry = format!("certward alert test {}", id(channel));
        assert!(code == Some(1) && text.contains(why) && text.contains(&retry), "{text}");
    }
    let (code, text) = refused(&shell.run("alert test nosuch"));
    assert!(code == Some(1) && text.contains("certward alert channel list"), "{text}");

    out(&shell.run(&format!("alert channel remove {}", id(&mail))));
    assert!(!out(&shell.run("alert channel list")).contains("mail"));
    shell.serve("line1", 2 * DAY + HOUR);
    let alerts = wait_until("an attempt on each channel", || {
        let alerts = out(&shell.run("alert list"));
        alerts.contains("1/2, pending (status 503, 1 attempt)").then_some(alerts)
    });
    assert!(alerts.contains("line1") && alerts.contains("in 2 days"), "{alerts}");
    assert!(good.record()[1]["body"].as_str().unwrap().contains("line1"));
    assert_eq!(out_json(&shell.run("alert list --json"))[0]["owners"], json!(["line1"]));
}
