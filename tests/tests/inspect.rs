//! `certward inspect`, at certward's own listeners and at openssl's server.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    net::{SocketAddr, TcpListener},
    process::{Command, Output, Stdio},
};

use certward_tests::{Authority, Certward, Leaf, Process, Scene, wait_until};
use serde_json::{Value, json};

fn inspect(certward: &Certward, line: &str) -> (i32, Value) {
    let arguments = format!("inspect {line} --json");
    let Output { status, stdout, stderr } = certward.cli(&arguments.split(' ').collect::<Vec<_>>());
    let json = serde_json::from_slice(&stdout);
    (status.code().unwrap(), json.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&stderr))))
}

/// Whether openssl agrees on this suite (its own name for it) in TLS 1.2.
fn openssl_agrees(at: SocketAddr, suite: &str) -> bool {
    let connect = at.to_string();
    let arguments =
        ["s_client", "-connect", &connect, "-servername", Scene::HOST, "-tls1_2", "-cipher", suite];
    let output = Command::new("openssl").args(arguments).stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).contains("BEGIN CERTIFICATE")
}

#[test]
fn what_a_one_way_deployment_serves_is_shown_as_openssl_sees_it() {
    let scene = Scene::new();
    let leaf = scene.run_one_way();
    std::fs::write(scene.certward.folder().join("ca.pem"), scene.authority.pem()).unwrap();
    let at = scene.certward.mqtts();
    let (code, seen) =
        inspect(&scene.certward, &format!("{} --at {at} --server-ca ca.pem", Scene::DEPLOYMENT));
    assert_eq!(code, 0, "{seen}");
    assert_eq!(
        seen["deployment"],
        json!({"deploymentID": Scene::DEPLOYMENT, "status": "running", "newestServed": true, "notLookedAt": []})
    );
    let failures = scene.api().get(&format!("/deployments/{}/tls/failures", Scene::DEPLOYMENT));
    assert_eq!(failures.expect(200).json(), json!([]), "no handshake of it failed");
    let endpoint = &seen["endpoints"][0];
    assert_eq!(endpoint["serverName"], Scene::HOST);
    assert_eq!(endpoint["twoWay"], false);
    assert_eq!(endpoint["signatureVerified"], true);
    assert_eq!(endpoint["untrusted"], Value::Null, "{seen}");
    assert_eq!(
        endpoint["chain"].as_array().unwrap().len(),
        leaf.chain_pem.matches("BEGIN CERTIFICATE").count()
    );

    let versions: Vec<&str> = endpoint["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|seen| seen["version"].as_str().unwrap())
        .collect();
    assert_eq!(versions, ["1.3", "1.2"]);
    assert_eq!(endpoint["versions"][0]["group"], "X25519MLKEM768");
    let suites = endpoint["versions"][1]["cipherSuites"].as_array().unwrap();
    for (iana, openssl) in [
        ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
    ] {
        assert_eq!(suites.contains(&json!(iana)), openssl_agrees(at, openssl), "{iana}: {seen}");
    }
}

#[test]
fn a_two_way_deployment_asks_for_its_cas() {
    let scene = Scene::new();
    scene.run_two_way(&Authority::new("Device CA"));
    let (code, seen) =
        inspect(&scene.certward, &format!("{} --at {}", Scene::DEPLOYMENT, scene.certward.mqtts()));
    assert_eq!(code, 0, "{seen}");
    let endpoint = &seen["endpoints"][0];
    assert_eq!(
        (&endpoint["twoWay"], &endpoint["clientCas"]),
        (&json!(true), &json!(["CN=Device CA"])),
        "{seen}"
    );
    assert_eq!(endpoint["versions"].as_array().unwrap().len(), 2, "{seen}");
    assert!(endpoint["untrusted"].as_str().unwrap().contains("no trusted CA"), "the machine's CAs: {seen}");

    let text =
        scene.certward.cli(&["inspect", Scene::DEPLOYMENT, "--at", &scene.certward.mqtts().to_string()]);
    let text = String::from_utf8(text.stdout).unwrap();
    for part in [
        "running, and what is served ends when that certificate does",
        "asked for a certificate of CN=Device CA",
        "TLS 1.3",
        "CN=",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

/// `openssl s_server` with this certificate.
fn s_server(certward: &Certward, leaf: &Leaf, options: &[&str]) -> (Process, SocketAddr) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    leaf.write(certward.folder(), "peer");
    let port = address.port().to_string();
    let mut command = Command::new("openssl");
    command.args(["s_server", "-accept", &port, "-cert", "peer.pem", "-key", "peer.key", "-quiet"]);
    command.args(options).current_dir(certward.folder());
    let process = Process::start("s_server", certward.folder(), &mut command);
    wait_until("openssl's server", || std::net::TcpStream::connect(address).ok());
    (process, address)
}

#[test]
fn other_servers_are_shown_as_they_are_set_up() {
    let certward = Certward::start();
    let authority = Authority::new("Peer CA");
    authority.write(certward.folder(), "ca.pem");
    Authority::new("Clients").write(certward.folder(), "clients.pem");
    let leaf = authority.server(&["peer.example"]);
    for (options, version, two_way) in [
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"][..], "1.2", false),
        (&["-tls1_3", "-Verify", "1", "-CAfile", "clients.pem"][..], "1.3", true),
        (&["-tls1_2", "-Verify", "1", "-CAfile", "clients.pem"], "1.2", true),
    ] {
        let (_server, address) = s_server(&certward, &leaf, options);
        let (code, seen) =
            inspect(&certward, &format!("{address} --server-name peer.example --server-ca ca.pem"));
        assert_eq!(code, 0, "{options:?}: {seen}");
        let endpoint = &seen["endpoints"][0];
        let versions = endpoint["versions"].as_array().unwrap();
        assert_eq!((versions.len(), &versions[0]["version"]), (1, &json!(version)), "{options:?}: {seen}");
        assert_eq!(endpoint["twoWay"], two_way, "{options:?}: {seen}");
        assert_eq!(endpoint["untrusted"], Value::Null, "{options:?}: {seen}");
        if options.contains(&"-cipher") {
            assert_eq!(
                versions[0]["cipherSuites"],
                json!(["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]),
                "{seen}"
            );
        }
    }
    let (_server, address) = s_server(&certward, &leaf, &[]);
    for (name, ca, why) in
        [("other.example", "ca.pem", "for other names"), ("peer.example", "clients.pem", "no trusted CA")]
    {
        let (_, seen) = inspect(&certward, &format!("{address} --server-name {name} --server-ca {ca}"));
        assert!(seen["endpoints"][0]["untrusted"].as_str().unwrap().contains(why), "{name}, {ca}: {seen}");
    }
}

#[test]
fn what_cannot_be_seen_is_said_and_fails() {
    let certward = Certward::start();
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, seen) = inspect(&certward, &dead.to_string());
    assert_eq!(code, 1);
    assert!(seen["endpoints"][0]["error"].as_str().unwrap().starts_with("not connected"), "{seen}");
    // The API speaks plain HTTP.
    let api = certward.api().address;
    let (code, seen) = inspect(&certward, &api.to_string());
    assert_eq!(code, 1);
    assert_eq!(seen["endpoints"][0]["error"], "the server does not speak TLS on this port", "{seen}");
    let (code, seen) = inspect(&certward, &format!("{} --server-name unknown.example", certward.mqtts()));
    assert_eq!(code, 1);
    assert!(seen["endpoints"][0]["error"].as_str().unwrap().contains("unrecognized_name"), "{seen}");
}

#[test]
fn a_deployment_is_looked_at_where_its_devices_come() {
    let certward = Certward::start();
    let add = "deployment add d1 --upstream 127.0.0.1:1 --host *.devices.example";
    assert!(certward.cli(&add.split(' ').collect::<Vec<_>>()).status.success());
    let (code, seen) = inspect(&certward, &format!("d1 --at {}", certward.mqtts()));
    assert_eq!((code, &seen["deployment"]["status"], &seen["endpoints"]), (1, &json!("none"), &json!([])));
    let text = String::from_utf8(certward.cli(&["inspect", "d1"]).stdout).unwrap();
    assert!(text.contains("no certificate is set; `certward tls set d1"), "{text}");

    let leaf = Authority::new("CA").server(&["*.devices.example"]);
    leaf.write(certward.folder(), "leaf");
    let set = ["tls", "set", "d1", "--cert", "leaf.pem", "--key", "leaf.key", "--wait"];
    assert!(certward.cli(&set).status.success());
    let (code, seen) = inspect(&certward, "d1");
    assert_eq!((code, &seen["deployment"]["notLookedAt"]), (1, &json!(["*.devices.example"])), "{seen}");
    let (code, seen) = inspect(&certward, &format!("d1 --at {}", certward.mqtts()));
    assert_eq!((code, &seen["deployment"]["newestServed"]), (0, &json!(true)), "{seen}");

    let named = format!("d1 --at {} --server-name a.devices.example", certward.mqtts());
    let (code, seen) = inspect(&certward, &named);
    assert_eq!((code, &seen["deployment"]["notLookedAt"]), (0, &json!([])), "one name was asked for: {seen}");

    let no_port = certward.cli(&["inspect", "mqtt.example.com"]);
    assert_eq!(no_port.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&no_port.stderr).contains("write mqtt.example.com:8883"));
}
