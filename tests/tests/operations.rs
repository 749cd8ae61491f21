//! What goes wrong in operation, as the log, `status` and `deployment show` tell it.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::net::TcpListener;

use certward_tests::{Authority, Certward, HaProxy, PostgresServer, Scene, Setup, WebSocket, wait_until};
use serde_json::{Value, json};

fn stdout(scene: &Scene, arguments: &[&str]) -> String {
    let output = scene.certward.cli(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn shown(scene: &Scene) -> Value {
    let text = stdout(scene, &["deployment", "show", Scene::DEPLOYMENT, "--json"]);
    serde_json::from_str(&text).unwrap()
}

fn change(scene: &Scene, change: &Value) {
    scene.api().send("PATCH", &format!("/deployments/{}", Scene::DEPLOYMENT), Some(change)).expect(200);
}

/// The one trouble with this reason that the API tells of.
fn trouble(scene: &Scene, reason: &str) -> Value {
    wait_until("the trouble in the API", || {
        let shown = shown(scene);
        let troubles = shown["brokerTroubles"].as_array()?;
        troubles.iter().find(|trouble| trouble["reason"] == reason).cloned()
    })
}

/// The log's line with all of these texts.
fn line(scene: &Scene, texts: &[&str]) -> String {
    wait_until("a line of the log", || {
        let log = scene.certward.log();
        log.lines().find(|line| texts.iter().all(|text| line.contains(text))).map(str::to_owned)
    })
}

fn troubles_of(scene: &Scene, reason: &str) -> f64 {
    scene.api().metric(&format!("certward_gateway_broker_troubles{{reason=\"{reason}\"}}"))
}

#[test]
fn a_broker_that_is_down_is_told_everywhere_and_so_is_its_return() {
    let mut scene = Scene::new();
    scene.run_one_way();
    let device = scene.device();
    let mut sessions: Vec<_> = (0..3).map(|n| scene.connect(&device, &format!("d{n}")).unwrap()).collect();
    let upstream = scene.broker.upstream();
    let address = scene.certward.mqtts();
    assert!(shown(&scene)["brokerTroubles"].is_null());

    scene.broker.kill();
    for session in &mut sessions {
        let _ = session.wait_closed();
    }
    device.connect(address, Scene::HOST, "d0").expect_err("the broker is down");

    let broker = format!("the broker {upstream} of {} cannot be used: Connection refused", Scene::DEPLOYMENT);
    let said = line(&scene, &["WARN", &broker]);
    for part in [
        "start it, or check its address",
        "since=20",
        "turned_away=1",
        "disconnected=3",
        "listener=\"mqtts\"",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let trouble = trouble(&scene, "refused");
    for (field, value) in [
        ("listener", json!("mqtts")),
        ("upstream", json!(upstream)),
        ("proxyMismatchSuspected", json!(false)),
        ("turnedAway", json!(1)),
        ("disconnected", json!(3)),
    ] {
        assert_eq!(trouble[field], value, "{trouble}");
    }
    let sheet = stdout(&scene, &["deployment", "show", Scene::DEPLOYMENT]);
    assert!(sheet.contains(&format!("{upstream} cannot be used (mqtts, node ")), "{sheet}");
    assert!(sheet.contains("1 turned away, 3 disconnected"), "{sheet}");
    let status = stdout(&scene, &["status"]);
    assert!(
        status.contains("1 needs attention") && status.contains("cannot be used: Connection refused"),
        "{status}"
    );
    assert_eq!(troubles_of(&scene, "refused"), 1.0);

    scene.broker.start_again(scene.certward.folder());
    wait_until("a way to the broker", || scene.connect(&device, "d0").ok()).ping().unwrap();
    let said =
        line(&scene, &["INFO", &format!("the broker {upstream} of {} can be used again", Scene::DEPLOYMENT)]);
    assert!(said.contains("disconnected=3"), "{said}");
    wait_until("the end of the trouble", || shown(&scene)["brokerTroubles"].is_null().then_some(()));
    assert_eq!(troubles_of(&scene, "refused"), 0.0);
    assert!(stdout(&scene, &["status"]).contains("none needs attention"));
}

#[test]
fn a_broker_that_does_not_expect_a_proxy_header_is_suspected_of_it() {
    let scene = Scene::new();
    scene.run_one_way();
    let device = scene.device();
    let before = scene.connect(&device, "before").unwrap();
    change(&scene, &json!({"proxyProtocol": "v2"}));
    // The connection from before says nothing about the new setting.
    wait_until("devices without an answer", || {
        let _ = scene.connect(&device, "after");
        (troubles_of(&scene, "no_answer") == 1.0).then_some(())
    });
    let trouble = trouble(&scene, "no_answer");
    assert_eq!(trouble["proxyMismatchSuspected"], true, "{trouble}");
    let remedy = trouble["remedy"].as_str().unwrap();
    let off = format!("certward deployment set {} --proxy-protocol none", Scene::DEPLOYMENT);
    assert!(remedy.contains("may not expect the PROXY header") && remedy.contains(&off), "{remedy}");
    line(&scene, &["WARN", "ends them without an answer", &off]);

    change(&scene, &json!({"proxyProtocol": "none"}));
    wait_until("the end of the trouble", || shown(&scene)["brokerTroubles"].is_null().then_some(()));
    drop(before);
}

#[test]
fn a_broker_that_expects_a_proxy_header_is_suspected_of_it() {
    let scene = Scene::new();
    scene.run_one_way();
    let haproxy = HaProxy::before(&scene.broker.upstream(), scene.certward.folder());
    change(&scene, &json!({"upstream": haproxy.upstream()}));
    let device = scene.device();
    wait_until("devices without an answer", || {
        let _ = scene.connect(&device, "device");
        (troubles_of(&scene, "no_answer") == 1.0).then_some(())
    });
    let remedy = trouble(&scene, "no_answer")["remedy"].to_string();
    let on = format!("certward deployment set {} --proxy-protocol v2", Scene::DEPLOYMENT);
    assert!(remedy.contains("may expect a PROXY header") && remedy.contains(&on), "{remedy}");

    change(&scene, &json!({"proxyProtocol": "v2"}));
    wait_until("an answer", || scene.connect(&device, "device").ok());
    wait_until("the end of the trouble", || shown(&scene)["brokerTroubles"].is_null().then_some(()));
}

#[test]
fn a_device_whose_own_fault_ends_its_connections_makes_no_trouble_of_the_broker() {
    let scene = Scene::new();
    scene.run_one_way();
    let device = scene.device();
    let mut well = scene.connect(&device, "well").unwrap();
    for _ in 0..10 {
        // A CONNECT that the broker cannot read: its client id is longer than it says.
        let mut bad = device.handshake(scene.certward.mqtts(), Scene::HOST).unwrap();
        bad.send(&[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 200, b'x']).unwrap();
        let _ = bad.wait_closed();
    }
    well.ping().unwrap();
    assert_eq!(troubles_of(&scene, "no_answer"), 0.0);
}

#[test]
fn a_wss_device_of_a_deployment_without_a_websocket_broker_is_told_of() {
    let scene = Scene::new();
    scene.run_one_way();
    change(&scene, &json!({"wsUpstream": null}));
    // A change of the broker is not waited for: the first devices may still reach the one before.
    wait_until("a device without a broker", || {
        let session = scene.device().handshake(scene.certward.wss(), Scene::HOST).unwrap();
        let refused = WebSocket::upgrade(session, Scene::HOST).is_err();
        (refused && troubles_of(&scene, "not_configured") == 1.0).then_some(())
    });
    let set = format!("certward deployment set {} --ws-upstream HOST:PORT", Scene::DEPLOYMENT);
    let said = line(&scene, &["WARN", &format!("{} has no broker for wss devices", Scene::DEPLOYMENT)]);
    assert!(said.contains(&set), "{said}");
    let trouble = trouble(&scene, "not_configured");
    assert_eq!((&trouble["listener"], &trouble["upstream"]), (&json!("wss"), &Value::Null), "{trouble}");
    scene.connect(&scene.device(), "mqtts").expect("its other broker is well").ping().unwrap();
    assert_eq!(troubles_of(&scene, "not_configured"), 1.0, "wss is apart");
}

#[test]
fn a_trouble_of_a_node_is_told_by_every_node() {
    let server = PostgresServer::shared();
    let scene = Scene::with(Setup { store: Some(server.database()), ..Setup::default() });
    let second = Certward::start_beside(
        &scene.certward,
        Setup { store: Some(scene.certward.store_url()), ..Setup::default() },
    );
    scene.run_one_way();
    let dead = TcpListener::bind(("127.0.0.9", 0)).unwrap().local_addr().unwrap();
    change(&scene, &json!({"upstream": dead.to_string()}));
    wait_until("a device without a broker", || {
        let _ = scene.connect(&scene.device(), "device");
        (troubles_of(&scene, "refused") == 1.0).then_some(())
    });
    let here = trouble(&scene, "refused");
    let there = wait_until("the other node's answer", || {
        let answer = second.api().get(&format!("/deployments/{}", Scene::DEPLOYMENT)).expect(200).json();
        answer["brokerTroubles"].as_array().map(|troubles| troubles[0].clone())
    });
    assert_eq!(there["node"], here["node"]);
    let list = second.api().get("/deployments").expect(200).json();
    assert_eq!(list[0]["brokerTroubles"][0]["reason"], "refused", "{list}");
}

#[test]
fn refused_devices_are_one_line_with_an_example_by_name() {
    let mut scene = Scene::with(Setup { log_level: "info", ..Setup::default() });
    scene.run_two_way(&Authority::new("Device CA"));
    let stranger = Authority::new("Another CA").client("meter-7");
    for _ in 0..5 {
        scene.connect(&scene.device().with_identity(&stranger), "stranger").unwrap_err();
    }
    scene.connect(&scene.device(), "nameless").unwrap_err();
    wait_until("the refusals", || {
        let failures = stdout(&scene, &["tls", "failures", Scene::DEPLOYMENT, "--json"]);
        (serde_json::from_str::<Value>(&failures).unwrap().as_array()?.len() == 6).then_some(())
    });
    // What a minute would sum up is logged at the end.
    assert!(scene.certward.stop().success());
    let log = scene.certward.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("devices were refused")).collect();
    let of = |cause: &str| {
        let of_cause: Vec<_> =
            lines.iter().filter(|line| line.contains(&format!("cause=\"{cause}\""))).collect();
        let [line] = of_cause[..] else { panic!("{cause}: {lines:?}") };
        (*line).to_owned()
    };
    let foreign = of("certificate_unknown_issuer");
    let deployment = format!("deployment.id={}", Scene::DEPLOYMENT);
    for part in [
        "INFO",
        &deployment,
        "count=5",
        "CN=meter-7",
        "CN=Another CA",
        "example.serial=",
        "example.peer=127.0.0.1:",
    ] {
        assert!(foreign.contains(part), "{part}: {foreign}");
    }
    let nameless = of("certificate_required");
    assert!(nameless.contains("count=1") && !nameless.contains("subject"), "{nameless}");
}

#[test]
fn devices_that_a_removed_ca_disconnects_are_counted() {
    let scene = Scene::new();
    let (staying, going) = (Authority::new("Staying CA"), Authority::new("Going CA"));
    let leaf = scene.leaf();
    let both = format!("{}{}", staying.pem(), going.pem());
    scene.api().post_tls(Scene::DEPLOYMENT, &leaf.two_way(&both)).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
    let gone = scene.device().with_identity(&going.client("gone"));
    let mut sessions: Vec<_> = (0..7).map(|n| scene.connect(&gone, &format!("d{n}")).unwrap()).collect();
    scene.api().put_tls(Scene::DEPLOYMENT, &leaf.two_way(staying.pem())).expect(200);
    sessions.iter_mut().for_each(|session| drop(session.wait_closed()));
    let said =
        line(&scene, &["devices were disconnected: the deployment no longer trusts their certificates"]);
    assert!(said.contains("WARN") && said.contains("count=7") && said.contains(Scene::DEPLOYMENT), "{said}");
}

#[test]
fn what_ends_the_start_is_a_line_of_the_log() {
    let scene = Scene::new();
    let folder = scene.certward.folder();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let broken = |name: &str, text: String| {
        let file = folder.join(name);
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let port = taken.local_addr().unwrap();
    let json = "[log]\nformat = \"json\"\n";
    let data = |name: &str| format!("data_dir = \"{}\"\n", folder.join(name).display());
    let typo = broken("typo.toml", format!("drian = 1\n{json}"));
    let text = broken("text.toml", "drian = 1\n".to_owned());
    let port_taken = broken("port.toml", format!("{}{json}[api]\nlisten = \"{port}\"\n", data("fresh")));
    let not_made = broken("not-made.toml", format!("{}{json}", data("never-made")));
    let init = scene.certward.cli_without_key(&["init", "--config", &port_taken]).output().unwrap();
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
    for (file, code, said) in [
        (&typo, 2, "unknown field `drian`"),
        (&port_taken, 1, "Address already in use"),
        (&not_made, 1, "certward init"),
    ] {
        let output = scene.certward.cli_without_key(&["serve", "--config", file]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{file}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        let last: Value = serde_json::from_str(stderr.lines().last().unwrap()).expect(&stderr);
        assert_eq!(last["level"], "ERROR", "{last}");
        assert!(last["timestamp"].is_string() && last["message"].to_string().contains(said), "{last}");
    }
    let output = scene.certward.cli_without_key(&["serve", "--config", &text]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("20") && stderr.contains(" ERROR ") && stderr.contains("drian"), "{stderr}");
}
