//! Messages between devices through certward and a real broker.

use std::process::Command;

use certward_tests::{Authority, Packet, Scene, Setup, WebSocket, recipe, run};
use rustls::ProtocolVersion;

fn publish(scene: &Scene, message: &str, arguments: &[&str]) -> bool {
    let mut command = scene.tool("mosquitto_pub", arguments);
    run(command.args(["-q", "1", "-t", "greeting", "-m", message])).status.success()
}

#[test]
fn a_message_travels_one_way_with_tls_1_2_and_1_3() {
    let scene = Scene::new();
    scene.run_one_way();
    let subscriber = scene.subscribe("subscriber", "greeting", &[]);
    for version in ["tlsv1.2", "tlsv1.3"] {
        assert!(publish(&scene, &format!("over {version}"), &["--tls-version", version]));
        subscriber.wait_for(&format!("over {version}"), 1);
    }
}

#[test]
fn a_large_message_arrives_whole_in_both_directions() {
    let scene = Scene::new();
    scene.run_one_way();
    let subscriber = scene.subscribe("subscriber", "greeting", &[]);
    let payload = "0123456789abcdef".repeat(1 << 16);
    let file = scene.certward.folder().join("payload");
    std::fs::write(&file, &payload).unwrap();
    let mut command = scene.tool("mosquitto_pub", &["-q", "1", "-t", "greeting", "-f"]);
    assert!(run(command.arg(&file)).status.success());
    subscriber.wait_for(&payload, 1);
}

#[test]
fn a_device_that_trusts_another_authority_does_not_connect() {
    let mut scene = Scene::new();
    scene.run_one_way();
    assert!(publish(&scene, "trusted", &[]));
    scene.authority = Authority::new("Another CA");
    assert!(!publish(&scene, "not trusted", &[]));
}

#[test]
fn two_way_admits_devices_with_a_certificate_and_no_others() {
    let scene = Scene::new();
    let (clients, strangers) = (Authority::new("Device CA"), Authority::new("Device CA"));
    scene.run_two_way(&clients);
    let folder = scene.certward.folder();
    let identity = |authority: &Authority, name: &str| {
        let (cert, key) = authority.client(name).write(folder, name);
        ["--cert".into(), cert.display().to_string(), "--key".into(), key.display().to_string()]
    };
    let known = identity(&clients, "known");
    let stranger = identity(&strangers, "stranger");

    let subscriber = scene.subscribe("subscriber", "greeting", &known.each_ref().map(String::as_str));
    for version in ["tlsv1.2", "tlsv1.3"] {
        let with = |identity: &[String]| {
            let arguments: Vec<&str> =
                identity.iter().map(String::as_str).chain(["--tls-version", version]).collect();
            publish(&scene, version, &arguments)
        };
        assert!(with(&known), "{version}: with a certificate");
        subscriber.wait_for(&format!("\n{version}\n"), 1);
        assert!(!with(&stranger), "{version}: with one of another authority of the same name");
        assert!(!with(&[]), "{version}: without one");
    }
}

#[test]
fn an_intermediate_of_the_device_is_followed_to_the_client_ca() {
    let scene = Scene::new();
    let clients = Authority::new("Device Root");
    scene.run_two_way(&clients);
    let device = scene.device().with_identity(&clients.intermediate("Device Sub CA").client("chained"));
    scene.connect(&device, "chained").unwrap().ping().unwrap();
}

#[test]
fn a_version_1_client_certificate_is_admitted_with_its_own_key_only() {
    let scene = Scene::new();
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe::make(folder.path());
    let text = run(Command::new("openssl")
        .args(["x509", "-noout", "-text", "-in"])
        .arg(folder.path().join("client.pem")));
    assert!(String::from_utf8_lossy(&text.stdout).contains("Version: 1 (0x0)"), "the recipe makes version 1");

    scene.api().post_tls(Scene::DEPLOYMENT, &scene.leaf().two_way(&recipe.client_ca_pem)).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
    for device in [scene.device().with_tls12(), scene.device().with_tls13()] {
        let device_with = |leaf| device.clone().with_identity(leaf);
        scene.connect(&device_with(&recipe.client), "v1").unwrap().ping().unwrap();
        // The certificate is public; without its key it must not help.
        let mut stolen = recipe.server.clone();
        stolen.der.clone_from(&recipe.client.der);
        scene.connect(&device_with(&stolen), "stolen").expect_err("a certificate with another key");
    }
}

#[test]
fn tls_1_2_and_1_3_are_spoken_and_nothing_older() {
    let scene = Scene::new();
    let leaf = scene.run_one_way();
    let cases = [
        (scene.device().with_tls12(), ProtocolVersion::TLSv1_2),
        (scene.device().with_tls13(), ProtocolVersion::TLSv1_3),
        (scene.device(), ProtocolVersion::TLSv1_3),
    ];
    for (device, version) in cases {
        let session = scene.connect(&device, "versions").unwrap();
        assert_eq!((session.version(), session.leaf()), (Some(version), &leaf.der[..]));
    }
    for old in ["-tls1", "-tls1_1"] {
        let address = scene.certward.mqtts().to_string();
        let arguments = ["s_client", "-connect", &address, "-servername", Scene::HOST, old];
        let output = run(Command::new("openssl").args(arguments).args(["-cipher", "ALL:@SECLEVEL=0"]));
        assert!(!output.status.success(), "{old}");
    }
}

#[test]
fn openssl_verifies_chain_and_name() {
    let scene = Scene::new();
    let intermediate = scene.authority.intermediate("Test Sub CA");
    scene.api().post_tls(Scene::DEPLOYMENT, &intermediate.server(&[Scene::HOST]).one_way()).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
    let ca = scene.authority.write(scene.certward.folder(), "ca.pem");
    let address = scene.certward.mqtts().to_string();
    let output = run(Command::new("openssl")
        .args(["s_client", "-connect", &address, "-servername", Scene::HOST, "-verify_hostname", Scene::HOST])
        .args(["-verify_return_error", "-CAfile"])
        .arg(ca));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("Verify return code: 0 (ok)"), "{text}");
}

#[test]
fn a_message_travels_over_wss_too() {
    let scene = Scene::new();
    scene.run_one_way();
    let subscriber = scene.subscribe("subscriber", "greeting", &[]);
    for device in [scene.device().with_tls12(), scene.device().with_tls13()] {
        let session = device.handshake(scene.certward.wss(), Scene::HOST).unwrap();
        let mut socket = WebSocket::upgrade(session, Scene::HOST).unwrap();
        socket.send(Packet::connect("browser").bytes()).unwrap();
        assert_eq!(socket.receive().unwrap(), Packet::CONNACK);
        socket.send(Packet::publish("greeting", b"over wss").bytes()).unwrap();
    }
    subscriber.wait_for("over wss", 2);
}

#[test]
fn devices_without_sni_arrive_by_a_bound_listener_or_the_default_deployment() {
    let id = Scene::DEPLOYMENT;
    let setup = Setup { bound_deployment: Some(id), default_deployment: Some(id), ..Setup::default() };
    let scene = Scene::with(setup);
    let leaf = scene.run_one_way();
    for address in [scene.certward.bound(), scene.certward.mqtts()] {
        let output = run(Command::new("openssl").args([
            "s_client",
            "-noservername",
            "-connect",
            &address.to_string(),
        ]));
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("BEGIN CERTIFICATE"),
            "{address} without SNI"
        );
        let device = certward_tests::Device::trusting_anyone();
        // For an IP address rustls sends no SNI.
        for name in ["127.0.0.1", "unknown.example"] {
            let session = device.connect(address, name, "no-sni").unwrap();
            assert_eq!(session.leaf(), leaf.der);
        }
    }
}

#[test]
fn an_unknown_name_is_refused_by_its_alert_and_reaches_no_broker() {
    let scene = Scene::new();
    scene.run_one_way();
    let before = scene.broker.output().matches("New connection").count();
    let address = scene.certward.mqtts().to_string();
    let output = run(Command::new("openssl").args([
        "s_client",
        "-connect",
        &address,
        "-servername",
        "unknown.example",
    ]));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("unrecognized name"), "{text}");
    assert_eq!(scene.broker.output().matches("New connection").count(), before);
}

#[test]
fn a_wildcard_host_covers_one_label_and_the_exact_host_wins() {
    let scene = Scene::new();
    let api = scene.api();
    let upstream = scene.broker.upstream();
    api.create_deployment("wild", &upstream, &["*.devices.example"]);
    api.create_deployment("exact", &upstream, &["one.devices.example"]);
    let wild = scene.authority.server(&["*.devices.example"]);
    let exact = scene.authority.server(&["one.devices.example"]);
    for (id, leaf) in [("wild", &wild), ("exact", &exact)] {
        api.post_tls(id, &leaf.one_way()).expect(200);
        api.wait_running(id);
    }
    for (name, leaf) in
        [("one.devices.example", &exact), ("two.devices.example", &wild), ("TWO.devices.EXAMPLE", &wild)]
    {
        let session = scene.device().connect(scene.certward.mqtts(), name, "wild").unwrap();
        assert_eq!(session.leaf(), leaf.der, "{name}");
    }
    scene.device().connect(scene.certward.mqtts(), "a.two.devices.example", "deep").expect_err("two labels");
}

#[test]
fn what_is_no_mqtt_never_reaches_the_broker() {
    let scene = Scene::new();
    scene.run_one_way();
    let before = scene.broker.output().matches("New connection").count();
    let mut session = scene.device().handshake(scene.certward.mqtts(), Scene::HOST).unwrap();
    session.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    session.wait_closed().unwrap();
    assert_eq!(scene.broker.output().matches("New connection").count(), before);
}

#[test]
fn a_broker_that_is_down_gives_a_clean_close_and_comes_back_by_itself() {
    let mut scene = Scene::new();
    scene.run_one_way();
    scene.broker.kill();
    let mut session = scene.device().handshake(scene.certward.mqtts(), Scene::HOST).unwrap();
    session.send(Packet::connect("early").bytes()).unwrap();
    assert!(session.wait_closed().unwrap(), "a proper end of TLS, not a cut line");

    scene.broker = certward_tests::Broker::start(scene.certward.folder());
    let api = scene.api();
    let upstream = serde_json::json!({"upstream": scene.broker.upstream()});
    api.send("PATCH", &format!("/deployments/{}", Scene::DEPLOYMENT), Some(&upstream)).expect(200);
    certward_tests::wait_until("connection to the new broker", || {
        scene.connect(&scene.device(), "late").ok()
    });
}
