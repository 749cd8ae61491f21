//! `certward doctor` in the situations that an operator calls it in, read as the operator does.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process::Command,
    time::{Duration, Instant},
};

use certward_store::{Clock, SystemClock};
use certward_test_support::Receiver;
use certward_tests::{
    Authority, Broker, Certward, PostgresServer, Process, Scene, Setup, certward_binary, free_port, run,
    wait_until,
};
use rustix::process::Signal;
use serde_json::{Value, json};

/// What was said, and the exit code.
struct Report {
    code: i32,
    text: String,
}

impl Report {
    fn of(certward: &Certward) -> Self {
        Self::with(certward, &[])
    }

    fn with(certward: &Certward, arguments: &[&str]) -> Self {
        Self::through(certward, &[], arguments)
    }

    /// `wrapper`: the beginning of the command line.
    fn through(certward: &Certward, wrapper: &[&str], arguments: &[&str]) -> Self {
        let program = certward_binary().to_str().unwrap();
        let line = [wrapper, &[program, "doctor"], arguments].concat();
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).arg("--config").arg(certward.config());
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CERTWARD_"))
        {
            command.env_remove(name);
        }
        let output = run(&mut command);
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
        Self { code: output.status.code().unwrap(), text }
    }

    /// The lines with this verdict.
    fn lines(&self, verdict: &str) -> Vec<&str> {
        self.text.lines().filter(|line| line.starts_with(&format!("{verdict} "))).collect()
    }

    /// A line with this verdict and text, followed by the fix if one is wanted.
    #[track_caller]
    fn says(&self, verdict: &str, text: &str, fix: &str) -> &Self {
        let mut lines =
            self.text.lines().skip_while(|line| !(line.starts_with(verdict) && line.contains(text)));
        assert!(lines.next().is_some(), "no {verdict} with {text:?}:\n{}", self.text);
        let next = lines.next().unwrap_or_default();
        assert!(
            fix.is_empty() || next.trim_start().starts_with("Do: ") && next.contains(fix),
            "{fix:?}:\n{}",
            self.text
        );
        self
    }

    #[track_caller]
    fn fails(&self) -> &Self {
        assert_eq!(self.code, 1, "{}", self.text);
        self
    }

    /// No error.
    #[track_caller]
    fn passes(&self) -> &Self {
        assert_eq!((self.code, self.lines("error")), (0, vec![]), "{}", self.text);
        self
    }
}

fn pid(certward: &mut Certward) -> u32 {
    certward.process().id()
}

#[test]
fn all_is_well_beside_a_running_certward_and_while_it_is_stopped() {
    let mut scene = Scene::new();
    scene.run_one_way();
    let id = pid(&mut scene.certward);
    let (mqtts, broker, ws) = (scene.certward.mqtts(), scene.broker.upstream(), scene.broker.ws_upstream());
    let report = Report::of(&scene.certward);
    report
        .passes()
        .says("ok", &format!("{mqtts} is held by the running certward (process {id})"), "")
        .says("ok", "the running certward may open", "")
        .says("ok", "the master key opens the store", "")
        .says("ok", "ge6a1a75: the certificate covers localhost", "")
        .says("ok", "ge6a1a75: localhost has the address 127.0.0.1", "")
        .says("ok", &format!("ge6a1a75's broker {broker} answers without a PROXY header"), "")
        .says("ok", &format!("ge6a1a75's WebSocket broker {ws} answers"), "");
    assert_eq!(report.lines("warning"), [""; 0], "{}", report.text);
    assert!(report.text.trim_end().lines().last().unwrap().starts_with("all well: "), "{}", report.text);
    // A broker's log has no error of it.
    wait_until("the DISCONNECT of the question", || {
        scene.broker.output().contains("Received DISCONNECT from certward").then_some(())
    });

    let json = Report::with(&scene.certward, &["--json"]);
    let json: Value = serde_json::from_str(&json.text).unwrap();
    assert_eq!((&json["errors"], &json["warnings"]), (&json!(0), &json!(0)));
    let codes: Vec<&str> =
        json["checks"].as_array().unwrap().iter().map(|check| check["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"LISTEN_ADDRESS") && codes.contains(&"BROKER"), "{codes:?}");

    scene.certward.stop();
    let before = folder_state(&scene.certward);
    Report::of(&scene.certward).passes().says("ok", &format!("{mqtts} is free; certward does not run"), "");
    assert_eq!(folder_state(&scene.certward), before, "it changes nothing");
}

fn folder_state(certward: &Certward) -> Vec<(String, u32, Vec<u8>)> {
    let entries = fs::read_dir(certward.data()).unwrap().map(|entry| entry.unwrap());
    let mut state: Vec<_> = entries
        .map(|entry| {
            let mode = entry.metadata().unwrap().permissions().mode();
            (entry.file_name().to_string_lossy().into_owned(), mode, fs::read(entry.path()).unwrap())
        })
        .collect();
    state.sort();
    state
}

#[test]
fn a_configuration_that_is_not_read_ends_it() {
    let certward = Certward::start();
    let text = fs::read_to_string(certward.config()).unwrap();
    fs::write(certward.config(), text.replace("[gateway]", "[gateway]\ndrian = \"1s\"")).unwrap();
    let report = Report::of(&certward);
    report.fails().says("error", "unknown field `drian`", "correct it");
    assert!(report.text.contains("certward.toml, line "), "{}", report.text);
}

#[test]
fn a_port_of_another_program_is_named_with_that_program() {
    let mut certward = Certward::start();
    certward.stop();
    let mqtts = certward.mqtts();
    let taken = wait_until("the port", || TcpListener::bind(mqtts).ok());
    let report = Report::of(&certward);
    let id = std::process::id();
    report.fails().says("error", &format!("{mqtts} is held by another program, "), &format!("kill {id}"));
    assert!(report.text.contains(&format!("(process {id})")), "{}", report.text);
    drop(taken);
    Report::of(&certward).passes();
}

#[test]
fn a_node_that_runs_with_another_configuration_is_noticed() {
    let certward = Certward::start();
    let other = free_port();
    let text = fs::read_to_string(certward.config()).unwrap();
    fs::write(
        certward.config(),
        text.replace(&format!(":{}\"", certward.wss().port()), &format!(":{other}\"")),
    )
    .unwrap();
    Report::of(&certward).fails().says(
        "error",
        &format!("does not listen on 127.0.0.1:{other}"),
        "systemctl restart certward",
    );
}

#[test]
fn files_that_others_can_read_and_a_wrong_master_key_are_named() {
    let mut certward = Certward::start();
    certward.stop();
    let key = certward.data().join("master.key");
    let mode = |mode| fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    Report::of(&certward)
        .fails()
        .says("error", "can be read by others", &format!("chmod 600 {}", key.display()))
        .says("warning", "deployments are not checked", "");
    mode(0o600);
    let right = fs::read_to_string(&key).unwrap();
    fs::write(&key, "0".repeat(64)).unwrap();
    Report::of(&certward).fails().says(
        "error",
        "the master key is not the one that this store was made with",
        "master_key_file",
    );
    fs::remove_file(&key).unwrap();
    Report::of(&certward).fails().says("error", "master.key: No such file", "bring back the file");
    fs::write(&key, right).unwrap();
    mode(0o600);
    Report::of(&certward).passes();
    if rustix::process::getuid().is_root() {
        let user = 65534;
        std::os::unix::fs::chown(certward.data(), Some(user), None).unwrap();
        let fix = format!("runuser -u \"$(id -nu {user})\" -- certward doctor");
        Report::of(&certward).fails().says("error", &format!("belongs to user {user}"), &fix);
    }
}

#[test]
fn a_store_that_is_away_is_said_and_what_needs_it_is_left_out() {
    let mut server = PostgresServer::start_on_tcp();
    let database = server.database();
    let url = server.tcp_url(database.rsplit('/').next().unwrap());
    let mut certward = Certward::start_with(Setup { store: Some(url), ..Setup::default() });
    certward.api().create_deployment("d1", "127.0.0.1:9", &["localhost"]);
    Report::of(&certward)
        .says("ok", "the store answers (PostgreSQL, ", "")
        .says("ok", "the master key opens", "")
        // As the server of the tests has it.
        .says("warning", "the database runs with fsync = off", "");
    certward.stop();
    let is_away = || {
        let began = Instant::now();
        let report = Report::of(&certward);
        assert!(began.elapsed() < Duration::from_secs(60), "bounded");
        report.fails().says("error", "the store is unavailable", "psql 'postgres://").says(
            "warning",
            "deployments are not checked",
            "",
        );
    };
    server.signal_all(Signal::STOP);
    is_away();
    server.signal_all(Signal::CONT);
    server.stop();
    is_away();
    server.resume();
}

/// HAProxy in front of a broker, which wants a header.
fn behind_haproxy(scene: &Scene) -> (Process, String) {
    let port = free_port();
    let file = scene.certward.folder().join("haproxy.cfg");
    let text = format!(
        "defaults\n  mode tcp\n  timeout client 30s\n  timeout server 30s\n  timeout connect 5s\n\
         listen behind\n  bind 127.0.0.1:{port} accept-proxy\n  server broker {}\n",
        scene.broker.upstream()
    );
    fs::write(&file, text).unwrap();
    let mut command = Command::new("/usr/sbin/haproxy");
    let process = Process::start("haproxy", scene.certward.folder(), command.arg("-db").arg("-f").arg(file));
    wait_until("HAProxy", || TcpStream::connect(("127.0.0.1", port)).ok());
    (process, format!("127.0.0.1:{port}"))
}

#[test]
fn a_broker_is_asked_with_a_header_and_without() {
    let mut scene = Scene::new();
    scene.run_one_way();
    let (_haproxy, behind) = behind_haproxy(&scene);
    let api = scene.api();
    let set = |change: Value| {
        api.send("PATCH", &format!("/deployments/{}", Scene::DEPLOYMENT), Some(&change)).expect(200);
    };
    let plain = scene.broker.upstream();
    for (upstream, protocol, verdict, says, fix) in [
        (&behind, "v2", "ok", "answers behind a PROXY header", ""),
        (&behind, "emqx", "ok", "answers behind a PROXY header", ""),
        (&behind, "mosquitto", "ok", "answers behind a PROXY header", ""),
        (
            &behind,
            "none",
            "error",
            "expects a PROXY header",
            "certward deployment set ge6a1a75 --proxy-protocol v2",
        ),
        (
            &plain,
            "v2",
            "error",
            "does not expect a PROXY header",
            "certward deployment set ge6a1a75 --proxy-protocol none",
        ),
        (&plain, "none", "ok", "answers without a PROXY header", ""),
    ] {
        set(json!({"upstream": upstream, "wsUpstream": null, "proxyProtocol": protocol}));
        let report = Report::with(&scene.certward, &["--deployment", Scene::DEPLOYMENT]);
        report.says(verdict, &format!("ge6a1a75's broker {upstream} {says}"), fix);
        assert_eq!(report.code, i32::from(verdict == "error"), "{}", report.text);
    }
    let mute = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mute_address = mute.local_addr().unwrap().to_string();
    set(json!({"upstream": mute_address, "proxyProtocol": "none"}));
    Report::of(&scene.certward).passes().says(
        "warning",
        &format!("{mute_address} accepts connections but answers no CONNECT"),
        "log",
    );
    set(json!({"upstream": plain}));
    scene.broker.kill();
    Report::of(&scene.certward).fails().says(
        "error",
        &format!("ge6a1a75's broker {plain} is not reached: Connection refused"),
        "start the broker",
    );
    set(json!({"upstream": scene.certward.mqtts().to_string()}));
    Report::of(&scene.certward).fails().says(
        "error",
        "one of this program's own listeners",
        "--upstream HOST:PORT",
    );
}

#[test]
fn certificates_and_names_are_held_against_hosts_and_the_clock() {
    let scene = Scene::new();
    let now = SystemClock.now().to_time().replace_nanosecond(0).unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    let api = scene.api();
    api.create_deployment("none", &scene.broker.upstream(), &["none.invalid"]);
    api.create_deployment("soon", &scene.broker.upstream(), &["soon.invalid", "uncovered.invalid"]);
    let soon = scene.authority.server_with(&["soon.invalid"], |leaf| {
        (leaf.not_before, leaf.not_after) = (now - 80 * day, now + 10 * day);
    });
    api.post_tls("soon", &soon.one_way()).expect(200);
    scene.run_one_way();
    Report::of(&scene.certward)
        .fails()
        .says("warning", "none has no certificate", "certward tls set none --cert FILE --key FILE")
        .says(
            "warning",
            "soon: the certificate ends in 9 days",
            "certward tls set soon --cert FILE --key FILE",
        )
        .says("error", "soon: the host uncovered.invalid is not covered", "certward tls set soon")
        .says("warning", "soon: the name soon.invalid has no address here", "to the DNS");
    let narrow = Report::with(&scene.certward, &["--deployment", Scene::DEPLOYMENT]);
    narrow.passes();
    assert!(!narrow.text.contains("soon") && !narrow.text.contains("master key"), "{}", narrow.text);
    Report::with(&scene.certward, &["--deployment", "other"]).fails().says(
        "error",
        "the deployment other does not exist",
        "certward deployment list",
    );

    // The clock ahead by 30 days, back by a year.
    let at = |offset: &str| {
        let faketime =
            format!("LD_PRELOAD=$(echo /usr/lib/*/faketime/libfaketime.so.1) FAKETIME={offset} exec \"$@\"");
        Report::through(&scene.certward, &["sh", "-c", &faketime, "sh"], &[])
    };
    at("+30d").fails().says("error", "soon: the certificate expired 20 days ago", "certward tls set soon");
    at("-365d").fails().says("error", "days ahead of this clock", "timedatectl set-ntp true").says(
        "error",
        "soon: the certificate is valid from",
        "timedatectl",
    );
}

#[test]
fn few_descriptors_and_receivers_out_of_reach_are_warned_of() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("CA"));
    let ca_file = authority.write(folder.path(), "ca.pem");
    let receiver = Receiver::http(None, "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", &json!({}));
    let setup = Setup { alerts: Some(("127.0.0.1", ca_file)), ..Setup::default() };
    let mut certward = Certward::start_with(setup);
    let channel = |host: &str| {
        let body = json!({"type": "webhook", "url": format!("http://{host}:{}/", receiver.port)});
        let made = certward.api().send("POST", "/alert-channels", Some(&body)).expect(201).json();
        made["channelID"].as_str().unwrap().to_owned()
    };
    let [inside, outside] = ["127.0.0.1", "127.0.0.2"].map(channel);
    Report::of(&certward).fails().says("ok", &format!("the alert channel {inside} "), "").says(
        "error",
        &format!("the alert channel {outside} "),
        "add \"127.0.0.2/32\" to alert_allow in [alerts]",
    );
    assert!(receiver.record().is_empty(), "nothing is sent");
    certward.api().send("DELETE", &format!("/alert-channels/{outside}"), None).expect(204);
    certward.process().limit_descriptors(512);
    Report::of(&certward).passes().says("warning", "the running certward may open 512 files", "LimitNOFILE=");
    certward.stop();
    Report::through(&certward, &["prlimit", "--nofile=1024:1024"], &[]).passes().says(
        "warning",
        "this shell may open 1024 files: 248 devices at once",
        "LimitNOFILE=",
    );
}

#[test]
fn the_certificate_of_the_api_is_looked_at() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("CA"));
    let now = SystemClock.now().to_time();
    let day = Duration::from_secs(24 * 60 * 60);
    let leaf = authority.server_with(&["localhost"], |leaf| {
        (leaf.not_before, leaf.not_after) = (now - 80 * day, now + 10 * day);
    });
    let (cert, key) = leaf.write(folder.path(), "api");
    let certward =
        Certward::prepare(Setup { api_certificate: Some((cert, key.clone())), ..Setup::default() });
    assert!(certward.run_init(&[]).status.success());
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    Report::of(&certward)
        .passes()
        .says("warning", "api.key is open to others (mode 0644)", &format!("chmod 600 {}", key.display()))
        .says("warning", "api.pem ends in 9 days", "systemctl reload certward");
    fs::write(&key, "nothing").unwrap();
    Report::of(&certward).fails().says(
        "error",
        "api.key holds no readable, unencrypted PEM private key",
        "[api] cert and key",
    );
}

#[test]
fn many_deployments_are_bounded_in_time_and_number() {
    let certward = Certward::start();
    let broker = Broker::start(certward.folder());
    for number in 0..20 {
        // The discard of a documentation network: no answer, or none in time.
        let upstream = if number == 0 { broker.upstream() } else { format!("192.0.2.{number}:1883") };
        certward.api().create_deployment(&format!("d{number}"), &upstream, &[]);
    }
    let began = Instant::now();
    let report = Report::of(&certward);
    assert!(began.elapsed() < Duration::from_secs(60), "bounded");
    report.fails().says("ok", &format!("d0's broker {} answers", broker.upstream()), "");
    assert_eq!(report.text.matches("is not reached").count(), 19, "{}", report.text);
}
