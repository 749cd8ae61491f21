//! The way back from a wrong certificate, and erasing a key for good.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use certward_tests::{Authority, Certward, EmbeddedDatabase, PostgresServer, Scene, Setup, run, wait_until};
use serde_json::{Value, json};

#[track_caller]
fn certward(scene: &Scene, arguments: &[&str]) -> String {
    let output = scene.certward.cli(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Newest first.
fn versions(scene: &Scene) -> Vec<Value> {
    let text = certward(scene, &["tls", "versions", Scene::DEPLOYMENT, "--json"]);
    serde_json::from_str(&text).unwrap()
}

fn statuses(scene: &Scene) -> Vec<String> {
    versions(scene).iter().map(|version| version["status"].as_str().unwrap().to_owned()).collect()
}

fn newest(scene: &Scene) -> i64 {
    versions(scene)[0]["version"].as_i64().unwrap()
}

#[track_caller]
fn put(scene: &Scene, upload: &Value) {
    scene.api().put_tls(Scene::DEPLOYMENT, upload).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
}

/// `openssl s_client`, which verifies the chain and the name.
fn openssl(scene: &Scene) -> Output {
    let ca = scene.authority.write(scene.certward.folder(), "trusted.pem");
    let address = scene.certward.mqtts().to_string();
    let mut client = Command::new("openssl");
    client.args(["s_client", "-connect", &address, "-servername", Scene::HOST]);
    client.args(["-verify_hostname", Scene::HOST, "-verify_return_error", "-CAfile"]).arg(ca);
    run(&mut client)
}

#[test]
fn after_a_wrong_certificate_a_rollback_brings_devices_back_and_ends_no_session() {
    let scene = Scene::new();
    let right = scene.run_one_way();
    let first = newest(&scene);
    let mut connected = scene.connect(&scene.device(), "connected").unwrap();
    let subscriber = scene.subscribe("subscriber", "news", &[]);
    assert!(openssl(&scene).status.success());

    put(&scene, &Authority::new("Another CA").server(&[Scene::HOST]).one_way());
    let wrong = newest(&scene);
    scene.connect(&scene.device(), "cut-off").expect_err("another root");
    assert!(!openssl(&scene).status.success());
    let diff = certward(&scene, &["tls", "diff", Scene::DEPLOYMENT, &first.to_string(), &wrong.to_string()]);
    assert!(diff.contains("issuer      - CN=Test Server CA\n            + CN=Another CA"), "{diff}");

    let back = certward(&scene, &["tls", "rollback", Scene::DEPLOYMENT, "--wait"]);
    assert!(back.starts_with("status   running"), "{back}");
    assert_eq!(scene.connect(&scene.device(), "back").unwrap().leaf(), right.der);
    assert!(openssl(&scene).status.success());
    connected.ping().expect("it was connected all the time");
    let published = run(&mut scene.tool("mosquitto_pub", &["-t", "news", "-m", "all is well", "-q", "1"]));
    assert!(published.status.success(), "{}", String::from_utf8_lossy(&published.stderr));
    subscriber.wait_for("all is well", 1);

    assert_eq!(statuses(&scene), ["running", "rolledBack", "superseded"]);
    assert_eq!(versions(&scene)[0]["restores"], first);
    let audit = certward(&scene, &["audit", "list", "--action", "tls.rollback"]);
    assert!(audit.contains(&format!("restores {first}")), "{audit}");

    // A second one undoes the first.
    certward(&scene, &["tls", "rollback", Scene::DEPLOYMENT, "--wait"]);
    assert_eq!(versions(&scene)[0]["restores"], wrong);
    connected.ping().expect("still");
}

#[test]
fn a_rollback_disconnects_exactly_the_devices_that_the_earlier_client_cas_do_not_verify() {
    let scene = Scene::new();
    let (one, two) = (Authority::new("Devices 1"), Authority::new("Devices 2"));
    scene.run_two_way(&one);
    let narrow = newest(&scene);
    put(&scene, &scene.leaf().two_way(&format!("{}{}", one.pem(), two.pem())));
    let wide = newest(&scene);
    let (device_one, device_two) = (
        scene.device().with_identity(&one.client("one")).with_resumption(),
        scene.device().with_identity(&two.client("two")).with_resumption(),
    );
    let mut of_one = scene.connect(&device_one, "one").unwrap();
    let mut of_two = scene.connect(&device_two, "two").unwrap();

    let back = ["tls", "rollback", Scene::DEPLOYMENT, "--to", &narrow.to_string(), "--wait", "--force"];
    certward(&scene, &back);
    of_two.wait_closed().expect("closed");
    of_one.ping().expect("it is trusted still");
    scene.connect(&device_two, "again").expect_err("nor by a session ticket");
    scene.connect(&device_one, "again").unwrap();

    certward(&scene, &["tls", "rollback", Scene::DEPLOYMENT, "--to", &wide.to_string(), "--wait"]);
    of_one.ping().expect("wider trust ends no session");
    scene.connect(&device_two, "again").unwrap();
}

/// Whether a file of the folder has these bytes; the last ones are unique to a sealed key.
fn is_in_files(folder: &Path, sealed: &[u8]) -> bool {
    let end = &sealed[sealed.len() - 24..];
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).any(|file: PathBuf| {
        // A log may be gone by now.
        fs::read(file).is_ok_and(|bytes| bytes.windows(end.len()).any(|window| window == end))
    })
}

fn from_hex(digits: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

#[test]
fn an_erased_key_is_in_no_file_and_no_rollback_leads_to_it() {
    let scene = Scene::new();
    scene.run_one_way();
    let leaked = newest(&scene);
    put(&scene, &scene.leaf().one_way());
    let mut connected = scene.connect(&scene.device(), "connected").unwrap();
    let data = scene.certward.data();
    let sealed = {
        let mut store = EmbeddedDatabase::open(&data.join("store.db"));
        from_hex(&store.texts(&format!("SELECT hex(sealed_key) FROM version WHERE version = {leaked}"))[0])
    };
    assert!(is_in_files(&data, &sealed), "the search finds what is there");

    certward(&scene, &["tls", "erase-version", Scene::DEPLOYMENT, &leaked.to_string()]);
    assert!(!is_in_files(&data, &sealed));
    assert_eq!(statuses(&scene), ["running", "erased"]);
    connected.ping().expect("it is another version's key");
    let rollback = format!("/deployments/{}/tls/rollback", Scene::DEPLOYMENT);
    let refused = scene.api().send("POST", &rollback, Some(&serde_json::json!({}))).expect(422);
    assert_eq!(refused.code(), "VERSION_ERASED");
    let refused = scene.certward.cli(&["tls", "rollback", Scene::DEPLOYMENT]);
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && stderr.contains("is erased"), "{stderr}");
    let newest = newest(&scene).to_string();
    let refused = scene.certward.cli(&["tls", "erase-version", Scene::DEPLOYMENT, &newest]);
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && stderr.contains("VERSION_IN_SERVICE"), "{stderr}");
}

#[test]
fn every_node_erases_its_copy_of_a_key() {
    let server = PostgresServer::shared();
    let store = server.database();
    let setup = || Setup { store: Some(store.clone()), ..Setup::default() };
    let scene = Scene::with(setup());
    scene.run_one_way();
    let leaked = newest(&scene);
    let beside = Certward::start_beside(&scene.certward, setup());
    put(&scene, &scene.leaf().one_way());
    let database = store.rsplit('/').next().unwrap();
    let sealed = format!("SELECT encode(sealed_key, 'hex') FROM version WHERE version = {leaked}");
    let sealed = from_hex(&server.query(database, &sealed));
    let nodes = [&scene.certward, &beside];
    for node in nodes {
        wait_until("the copy of the key", || is_in_files(&node.data(), &sealed).then_some(()));
    }

    // The broker would disconnect the first of two with one id.
    let mut connected = [(nodes[0], "one"), (nodes[1], "two")]
        .map(|(node, id)| scene.device().connect(node.mqtts(), Scene::HOST, id).unwrap());
    certward(&scene, &["tls", "erase-version", Scene::DEPLOYMENT, &leaked.to_string()]);
    assert_eq!(scene.api().tls(Scene::DEPLOYMENT).tls_status(), "running");
    for node in nodes {
        wait_until("the end of the copy", || (!is_in_files(&node.data(), &sealed)).then_some(()));
    }
    assert_eq!(server.query(database, "SELECT count(*) FROM version WHERE sealed_key IS NULL"), "1");
    for session in &mut connected {
        session.ping().expect("the newest version is not concerned");
    }

    // The versions that are left are served by both.
    put(&scene, &scene.leaf().one_way());
    let back = scene.api().send(
        "POST",
        &format!("/deployments/{}/tls/rollback", Scene::DEPLOYMENT),
        Some(&json!({})),
    );
    back.expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
    let leaves = nodes
        .map(|node| scene.device().connect(node.mqtts(), Scene::HOST, "looking").unwrap().leaf().to_vec());
    assert_eq!(leaves[0], leaves[1]);
    assert_eq!(versions(&scene)[0]["fingerprint"], versions(&scene)[2]["fingerprint"]);
}
