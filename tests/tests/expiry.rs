//! The real program with certificates that end: every place says so before and after, and the
//! receivers of alerts got it.

use std::{process::Command, time::Duration};

use certward_store::{Clock, SystemClock};
use certward_test_support::{CANARY, Receiver, effort};
use certward_tests::{Api, Authority, Certward, Leaf, Setup, came_within, run, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;

const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const PASSWORD: &str = "canary-mail-password";

struct Stage {
    certward: Certward,
    webhook: Receiver,
    mail: Receiver,
    authority: Authority,
    _folder: TempDir,
}

fn now() -> OffsetDateTime {
    let now = SystemClock.now().to_time();
    now.replace_nanosecond(0).unwrap()
}

impl Stage {
    /// Both receivers speak TLS by a CA of their own.
    fn new() -> Self {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("CA"));
        let server = authority.server(&["localhost", "127.0.0.1"]);
        let ca_file = authority.write(folder.path(), "ca.pem");
        let webhook = Receiver::http(Some(&server), SECRET, &json!({}));
        let mail = Receiver::smtp(&server, "starttls", &json!({"login": ["ops", PASSWORD]}));
        let certward = Certward::start_with(Setup {
            alerts: Some(("127.0.0.1", ca_file)),
            per_deployment_metrics: true,
            log_level: "info",
            ..Setup::default()
        });
        certward.api().create_deployment("short", "127.0.0.1:9", &["localhost"]);
        Self { certward, webhook, mail, authority, _folder: folder }
    }

    fn api(&self) -> Api {
        self.certward.api()
    }

    fn add_channels(&self) -> [String; 2] {
        let webhook = json!({"type": "webhook", "url": format!("https://localhost:{}/canary-path", self.webhook.port), "secret": SECRET});
        let mail = json!({
            "type": "mail", "host": "localhost", "port": self.mail.port, "username": "ops", "password": PASSWORD,
            "from": "certward@example.com", "to": ["ops@example.com", "night@example.com"],
        });
        [webhook, mail].map(|channel| {
            let made = self.api().send("POST", "/alert-channels", Some(&channel)).expect(201).json();
            made["channelID"].as_str().unwrap().to_owned()
        })
    }

    /// Ends in so much time, a tenth of its lifetime.
    fn upload_leaf(&self, left: Duration) -> Leaf {
        let leaf = self.authority.server_with(&["localhost"], |leaf| {
            (leaf.not_before, leaf.not_after) = (now() - left * 9, now() + left);
        });
        self.api().post_tls("short", &leaf.one_way()).expect(200);
        leaf
    }

    fn cli(&self, arguments: &[&str]) -> String {
        let output = run(&mut self.certward.cli_command(arguments));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn metric(&self, name: &str) -> Option<f64> {
        let page = self.api().try_send_at("GET", "/metrics", "", "").ok()?.body;
        let line = page.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    fn warnings(&self) -> Vec<String> {
        let shown = self.api().get("/deployments/short/tls").json();
        let warnings = shown["warnings"].as_array().cloned().unwrap_or_default();
        warnings.iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
    }

    /// What was posted, checked against the signature and its id.
    fn posted(&self) -> Vec<Value> {
        let posts = self.webhook.record();
        let read = |post: &Value| {
            assert_eq!(post["signed"], true, "{post}");
            let body: Value = serde_json::from_str(post["body"].as_str().unwrap()).unwrap();
            if body["type"] != "channel.test" {
                assert_eq!(post["headers"]["webhook-id"], body["data"]["alertID"]);
            }
            body
        };
        posts.iter().map(read).collect()
    }

    fn mails(&self) -> Vec<String> {
        let subject = |mail: &Value| {
            assert_eq!((&mail["tls"], &mail["authenticated"]), (&json!(true), &json!(true)), "{mail}");
            assert_eq!(mail["rcpt_tos"], json!(["ops@example.com", "night@example.com"]));
            mail["headers"]["subject"].as_str().unwrap().to_owned()
        };
        self.mail.events("mail").iter().map(subject).collect()
    }
}

fn rules(posted: &[Value]) -> Vec<String> {
    posted.iter().filter_map(|body| Some(body["data"]["rule"].as_str()?.to_owned())).collect()
}

#[test]
fn every_place_says_so_before_and_after_the_end() {
    let mut stage = Stage::new();
    let channels = stage.add_channels();
    for channel in &channels {
        let tested =
            stage.api().send("POST", &format!("/alert-channels/{channel}/test"), None).expect(200).json();
        assert_eq!(tested["delivered"], true, "{tested}");
    }
    stage.upload_leaf(effort().until_the_end);

    let (kind, fingerprint) = wait_until("listing", || {
        let listed = stage.api().get("/expiring?within=1d").json();
        let first = listed.as_array()?.first()?.clone();
        Some((first["kind"].clone(), first["fingerprint"].as_str()?.to_owned()))
    });
    assert_eq!(kind, "leaf");
    let shown = stage.api().get("/deployments/short/tls").json();
    assert_eq!(shown["daysLeft"], 0);
    assert!(stage.warnings().contains(&"EXPIRES_SOON".to_owned()), "{shown}");
    assert_eq!(stage.api().get("/deployments").json()[0]["tls"]["daysLeft"], 0);
    assert!(stage.cli(&["tls", "show", "short"]).contains("(in "));
    assert!(stage.cli(&["deployment", "list"]).contains(" in "));
    assert!(stage.cli(&["status"]).contains(" in "));
    assert!(stage.cli(&["expiring", "--within", "1d"]).contains("in "));
    wait_until("metrics before", || {
        (stage.metric("certward_certificates_ending{kind=\"leaf\",within=\"1d\"}")? == 1.0).then_some(())
    });
    wait_until("first alert", || (!stage.mails().iter().all(|mail| mail.contains("test"))).then_some(()));
    assert!(rules(&stage.posted()).iter().all(|rule| rule != "end"));
    let log = stage.certward.log();
    assert!(
        log.lines().any(|line| line.contains("WARN") && line.contains("of deployment short ends in")),
        "{log}"
    );

    came_within(effort().until_the_end * 2, || {
        rules(&stage.posted()).contains(&"end".to_owned()).then_some(())
    })
    .expect("the end is said");
    wait_until("mail of the end", || stage.mails().iter().any(|mail| mail.contains("ended")).then_some(()));
    let shown = stage.api().get("/deployments/short/tls").json();
    assert_eq!((&shown["daysLeft"], &shown["status"]), (&json!(-1), &json!("running")));
    assert!(
        stage.warnings().contains(&"LEAF_EXPIRED".to_owned())
            && !stage.warnings().contains(&"EXPIRES_SOON".to_owned())
    );
    assert_eq!(stage.api().get("/deployments").json()[0]["tls"]["daysLeft"], -1);
    assert!(stage.cli(&["tls", "show", "short"]).contains(" ago"));
    assert!(stage.cli(&["deployment", "list"]).contains(" ago"));
    assert!(stage.cli(&["status"]).contains(" ago"));
    assert!(stage.cli(&["expiring"]).contains(" ago"));
    let log = stage.certward.log();
    let said = |line: &&str| line.contains("ERROR") && line.contains("of deployment short ended");
    assert_eq!(log.lines().filter(said).count(), 1, "once: {log}");
    wait_until("metrics after", || {
        (stage.metric("certward_certificates_expired{kind=\"leaf\"}")? == 1.0).then_some(())
    });

    // Each rule once, in each channel; all delivered.
    let posted = rules(&stage.posted());
    let mut once = posted.clone();
    once.dedup();
    assert_eq!(posted, once, "in their order");
    assert_eq!(stage.mails().len(), posted.len() + 1, "and the test");
    for alert in stage.api().get("/alerts").json().as_array().unwrap() {
        assert_eq!(alert["fingerprint"], fingerprint.as_str());
        for delivery in alert["deliveries"].as_array().unwrap() {
            assert_eq!(delivery["state"], "delivered", "{alert}");
        }
    }

    // A restart says it once, and sends nothing again.
    stage.certward.stop();
    let before = stage.certward.log().len();
    stage.certward.serve();
    wait_until("log at start", || {
        let log = stage.certward.log();
        log[before..].lines().any(|line| line.contains("ERROR") && line.contains("ended")).then_some(())
    });
    assert_eq!(rules(&stage.posted()), posted);

    // Nothing of the secrets anywhere.
    let seen =
        [stage.certward.log(), stage.api().get("/alert-channels").body, stage.api().get("/alerts").body]
            .join("\n");
    for secret in [PASSWORD, "canary-path", &SECRET[6..], CANARY] {
        assert!(!seen.contains(secret), "{secret}");
    }
}

#[test]
fn what_cannot_be_delivered_is_visible_and_shows_nothing_of_the_receiver() {
    let folder = tempfile::tempdir().unwrap();
    let ca_file = Authority::new("CA").write(folder.path(), "ca.pem");
    let receiver = Receiver::http(None, SECRET, &json!({"answer": 500}));
    let certward = Certward::start_with(Setup { alerts: Some(("127.0.0.2", ca_file)), ..Setup::default() });
    let api = certward.api();
    let add = |url: String| {
        let made = api
            .send("POST", "/alert-channels", Some(&json!({"type": "webhook", "url": url})))
            .expect(201)
            .json();
        (made["channelID"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned())
    };
    let (elsewhere, drawn) = add(format!("http://127.0.0.1:{}/", receiver.port));
    assert!(drawn.starts_with("whsec_"));
    let tested = api.send("POST", &format!("/alert-channels/{elsewhere}/test"), None).expect(200).json();
    assert_eq!((&tested["delivered"], &tested["failure"]), (&json!(false), &json!("not_allowed")));
    assert!(receiver.record().is_empty(), "nothing was sent");
    api.send("DELETE", &format!("/alert-channels/{elsewhere}"), None).expect(204);
    assert_eq!(api.get("/alert-channels").json(), json!([]));
    let none = Certward::start();
    let body = json!({"type": "webhook", "url": "http://127.0.0.1/"});
    let refused = none.api().send("POST", "/alert-channels", Some(&body));
    assert_eq!(refused.expect(422).code(), "ALERT_ALLOW_EMPTY");
}

/// In the program's own process: the command `faketime` would be its parent.
const A_YEAR_AHEAD: &str =
    "LD_PRELOAD=$(echo /usr/lib/*/faketime/libfaketime.so.1) FAKETIME=+365d exec \"$@\"";

/// The clock a year ahead, as one could set it by mistake.
#[test]
fn a_clock_that_jumps_is_said_and_takes_nothing_out_of_service() {
    let folder = tempfile::tempdir().unwrap();
    let (data, authority) = (folder.path().join("data"), Authority::new("CA"));
    let setup = Setup { data: Some(data), log_level: "info", ..Setup::default() };
    let mut certward = Certward::start_with(setup);
    certward.api().create_deployment("short", "127.0.0.1:9", &["localhost"]);
    let leaf = authority
        .server_with(&["localhost"], |leaf| leaf.not_after = now() + Duration::from_secs(90 * 24 * 60 * 60));
    certward.api().post_tls("short", &leaf.one_way()).expect(200);
    certward.api().wait_running("short");
    certward.stop();
    let started = certward.log().len();
    certward.use_through(&["sh", "-c", A_YEAR_AHEAD, "sh"]);
    certward.serve();
    certward.api().wait_running("short");
    let log = || certward.log()[started..].to_owned();
    wait_until("a line about the clock", || log().contains("the store was last in use 36").then_some(()));
    wait_until("what has ended", || log().contains("of deployment short ended").then_some(()));
    let address = format!("localhost:{}", certward.mqtts().port());
    let served =
        run(Command::new("openssl").args(["s_client", "-servername", "localhost", "-connect", &address]));
    let served = String::from_utf8_lossy(&served.stdout).into_owned();
    assert!(served.contains("CN = localhost") || served.contains("CN=localhost"), "{served}");
    certward.stop();
    let started = certward.log().len();
    certward.use_through(&[]);
    certward.serve();
    certward.api().wait_running("short");
    wait_until("the way back", || certward.log()[started..].contains("behind the newest time").then_some(()));
}
