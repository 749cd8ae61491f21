//! A change that the fleet would reject is seen before it is made, and a rollback undoes it.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{net::SocketAddr, process::Output, sync::Arc};

use certward_test_support::{Receiver, authority_params};
use certward_tests::{
    Api, Authority, Certward, Device, FleetTarget, Leaf, MixedFleet, PostgresServer, Scene, Setup, effort,
    wait_until,
};
use rcgen::{KeyPair, PKCS_RSA_SHA256};
use serde_json::{Value, json};

const DEVICES: usize = 50;

/// Nodes, a broker, a two-way deployment and its connected devices.
struct Watched {
    scene: Scene,
    others: Vec<Certward>,
    /// Ends last.
    _server: Option<Arc<PostgresServer>>,
    devices: Authority,
    leaf: Leaf,
    fleet: Option<MixedFleet>,
}

impl Watched {
    fn new(nodes: usize) -> Self {
        let server = (nodes > 1).then(PostgresServer::shared);
        let store = server.as_ref().map(|server| server.database());
        let setup = || Setup { store: store.clone(), log_level: "info", ..Setup::default() };
        let scene = Scene::with(setup());
        let others = (1..nodes).map(|_| Certward::start_beside(&scene.certward, setup())).collect();
        let devices = Authority::new("Device CA");
        let leaf = scene.run_two_way(&devices);
        let mut watched = Self { scene, others, _server: server, devices, leaf, fleet: None };
        let nodes = watched.nodes();
        let fleet = MixedFleet::connect(
            &FleetTarget {
                nodes: &nodes,
                host: Scene::HOST,
                server_ca: &watched.scene.authority,
                client_ca: &watched.devices,
                folder: watched.scene.certward.folder(),
            },
            DEVICES,
        );
        watched.fleet = Some(fleet);
        wait_until("every device is known", || {
            let devices = watched.api().get(&path("devices?limit=1000")).expect(200).json();
            (devices.as_array().unwrap().len() == DEVICES).then_some(())
        });
        watched
    }

    fn nodes(&self) -> Vec<SocketAddr> {
        std::iter::once(&self.scene.certward).chain(&self.others).map(Certward::mqtts).collect()
    }

    fn api(&self) -> Api {
        self.scene.api()
    }

    fn fleet(&mut self) -> &mut MixedFleet {
        self.fleet.as_mut().unwrap()
    }

    /// `certward tls set` as a script runs it.
    fn set(&self, leaf: &Leaf, client_ca: &str, options: &[&str]) -> Output {
        let folder = self.scene.certward.folder();
        let (cert, key) = leaf.write(folder, "new");
        let ca = folder.join("new-client-ca.pem");
        std::fs::write(&ca, client_ca).unwrap();
        let files = [("--cert", &cert), ("--key", &key), ("--client-ca", &ca)];
        let files = files.into_iter().flat_map(|(flag, file)| [flag, file.to_str().unwrap()]);
        let arguments: Vec<&str> = ["tls", "set", Scene::DEPLOYMENT]
            .into_iter()
            .chain(files)
            .chain(options.iter().copied())
            .collect();
        self.scene.certward.cli(&arguments)
    }

    fn check(&self, upload: &Value) -> Value {
        self.api().send("POST", &path("tls/check"), Some(upload)).expect(200).json()["impact"].clone()
    }

    fn version(&self) -> Value {
        let versions = self.api().get(&path("tls/versions")).expect(200).json();
        versions[0]["version"].clone()
    }

    /// `certward tls rollback`.
    fn roll_back(&self) {
        let output = self.scene.certward.cli(&["tls", "rollback", Scene::DEPLOYMENT, "--yes"]);
        assert!(output.status.success(), "{}", text(&output));
        self.api().wait_running(Scene::DEPLOYMENT);
    }

    /// A change that would cut the fleet off is named, stopped, made by force, and undone.
    fn rejects(&mut self, leaf: &Leaf, client_ca: &str, cuts_sessions: bool, expected: impl Fn(&Value)) {
        let upload = leaf.two_way(client_ca);
        let before = self.version();
        let impact = self.check(&upload);
        assert_eq!(impact["severity"], "severe", "{impact}");
        expected(&impact);

        let strict = "Prefer: handling=strict\r\nContent-Type: application/json\r\n";
        let refused =
            self.api().try_send("PUT", &path("tls"), strict, &upload.to_string()).unwrap().expect(422);
        assert_eq!(refused.code(), "IMPACT_SEVERE");
        assert_eq!(refused.header("preference-applied"), Some("handling=strict"));
        expected(&refused.json()["impact"]);
        let stopped = self.set(leaf, client_ca, &[]);
        assert_eq!(stopped.status.code(), Some(1), "{}", text(&stopped));
        assert!(text(&stopped).contains("--force"), "{}", text(&stopped));
        assert_eq!(self.version(), before, "nothing is stored");
        self.fleet().assert_connected();

        let forced = self.set(leaf, client_ca, &["--force"]);
        assert!(forced.status.success(), "{}", text(&forced));
        match cuts_sessions {
            true => self.fleet().wait_closed(),
            false => self.fleet().assert_connected(),
        }
        self.roll_back();
        if !cuts_sessions {
            self.fleet().assert_connected();
        }
        self.fleet().come_back(Scene::HOST);
        self.fleet().assert_connected();
        let served = Device::trusting(&self.scene.authority).with_identity(&self.devices.client("another"));
        for node in self.nodes() {
            // Unknown to the broker, so not known.
            assert_eq!(served.handshake(node, Scene::HOST).unwrap().leaf(), self.leaf.der);
        }
    }
}

fn path(of_deployment: &str) -> String {
    format!("/deployments/{}/{of_deployment}", Scene::DEPLOYMENT)
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

fn of_all(impact: &Value, whom: &str) {
    assert_eq!(impact[whom], json!({"refused": DEVICES, "of": DEVICES}), "{impact}");
}

fn three_changes_that_cut_the_fleet_off_are_seen_and_undone(nodes: usize) {
    let mut watched = Watched::new(nodes);
    let devices = watched.devices.pem().to_owned();

    let elsewhere = watched.scene.authority.server(&["elsewhere.example.com"]);
    watched.rejects(&elsewhere, &devices, false, |impact| {
        assert_eq!(impact["hostsLost"], json!([Scene::HOST]), "{impact}");
        assert_eq!(impact["connected"], json!({"refused": 0, "of": DEVICES}), "{impact}");
    });

    let another = Authority::new("Another Root").server(&[Scene::HOST]);
    watched.rejects(&another, &devices, false, |impact| {
        let to = impact["rootChanged"]["to"].as_str().unwrap();
        assert!(to.contains("Another Root"), "{impact}");
    });

    let (renewed, servers_root) = (watched.scene.leaf(), watched.scene.authority.pem().to_owned());
    watched.rejects(&renewed, &servers_root, true, |impact| {
        of_all(impact, "connected");
        of_all(impact, "known");
        assert_eq!(impact["named"].as_array().unwrap().len(), 20, "{impact}");
        assert!(impact["named"][0]["name"].as_str().unwrap().contains("device-"), "{impact}");
    });
}

#[test]
fn three_changes_that_cut_the_fleet_off_are_seen_and_undone_on_one_node() {
    three_changes_that_cut_the_fleet_off_are_seen_and_undone(1);
}

#[test]
fn three_changes_that_cut_the_fleet_off_are_seen_and_undone_on_three_nodes() {
    three_changes_that_cut_the_fleet_off_are_seen_and_undone(3);
}

/// A renewal's hook, twice; the key's changes are left for the person who reads the alert.
#[test]
fn a_change_that_stops_in_a_script_arrives_as_one_webhook() {
    const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::http(None, SECRET, &json!({})));
    let ca_file = Authority::new("CA of receivers").write(folder.path(), "ca.pem");
    let alerts = Some(("127.0.0.1", ca_file));
    let scene = Scene::with(Setup { alerts, log_level: "info", ..Setup::default() });
    let api = scene.api();
    let url = format!("http://127.0.0.1:{}/hook", receiver.port);
    let channel = json!({"type": "webhook", "url": url, "secret": SECRET});
    api.send("POST", "/alert-channels", Some(&channel)).expect(201);
    api.post_tls(Scene::DEPLOYMENT, &scene.leaf().one_way()).expect(200);
    api.wait_running(Scene::DEPLOYMENT);
    let _session = scene.connect(&Device::trusting(&scene.authority), "device-of-a-person").unwrap();
    let elsewhere = scene.authority.server(&["elsewhere.example.com"]);
    wait_until("the device is known", || {
        let check = api.send("POST", &path("tls/check"), Some(&elsewhere.one_way())).expect(200).json();
        (check["impact"]["severity"] == "severe").then_some(())
    });

    let (cert, key) = elsewhere.write(folder.path(), "new");
    let files = ["--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let set = |options: &[&str]| {
        let arguments = [&["tls", "set", Scene::DEPLOYMENT][..], &files, options].concat();
        scene.certward.cli(&arguments)
    };
    for _ in 0..2 {
        let stopped = set(&[]);
        assert_eq!(stopped.status.code(), Some(1), "{}", text(&stopped));
        assert!(
            text(&stopped).contains(&format!("the host {} is in use", Scene::HOST)),
            "{}",
            text(&stopped)
        );
    }
    let posted = wait_until("the webhook", || receiver.record().first().cloned());
    assert_eq!(posted["signed"], true, "{posted}");
    let body: Value = serde_json::from_str(posted["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["type"], "change.stopped");
    let data = &body["data"];
    assert_eq!(posted["headers"]["webhook-id"], data["alertID"]);
    assert_eq!((&data["deployment"], &data["severity"]), (&json!(Scene::DEPLOYMENT), &json!("severe")));
    assert_eq!(data["hostsLost"], json!([Scene::HOST]), "{data}");
    assert_eq!(data["connected"], json!({"refused": 0, "of": 1}), "{data}");
    assert!(data["remedy"].as_str().unwrap().contains("--force"), "{data}");
    let listed = scene.certward.cli(&["alert", "list"]);
    assert!(text(&listed).contains("stoppedChange"), "{}", text(&listed));
    let log = scene.certward.log();
    let said = |line: &&str| line.contains("WARN") && line.contains("a change was stopped for its impact");
    assert_eq!(log.lines().filter(said).count(), 1, "once: {log}");

    let strict = "Prefer: handling=strict\r\nContent-Type: application/json\r\n";
    let upload = elsewhere.one_way().to_string();
    let refused = api.try_send("PUT", &path("tls"), strict, &upload).unwrap().expect(422);
    let number = |name| refused.header(name).unwrap().parse::<u64>().unwrap();
    let used = number("ratelimit-limit") - number("ratelimit-remaining");
    assert_eq!(used, 1, "the first change that counts");
    let forced = set(&["--force"]);
    assert!(forced.status.success(), "{}", text(&forced));
    let alerts = api.get("/alerts").json();
    assert_eq!(alerts.as_array().unwrap().len(), 1, "{alerts}");
    assert!(alerts[0]["withdrawnAt"].is_string(), "{alerts}");
    assert_eq!(alerts[0]["deliveries"][0]["state"], "delivered", "{alerts}");
    assert_eq!(receiver.record().len(), 1, "once");
}

/// A public CA's intermediates rotate; names, root and kind of key stay.
#[test]
fn a_year_of_ordinary_renewals_never_stops() {
    let mut watched = Watched::new(1);
    let intermediates = ["R10", "R11", "R12"].map(|name| watched.scene.authority.intermediate(name));
    let devices = watched.devices.pem().to_owned();
    for month in 0..12 {
        let renewed = intermediates[month % 3].server(&[Scene::HOST]);
        assert_eq!(watched.check(&renewed.two_way(&devices))["severity"], "none", "month {month}");
        let set = watched.set(&renewed, &devices, &[]);
        assert!(set.status.success(), "month {month}: {}", text(&set));
        watched.fleet().assert_connected();
    }
}

/// Devices without client certificates, each in a network of its own, a tenth of which verify RSA
/// only; and strangers of one network.
#[test]
fn a_share_of_devices_that_verify_rsa_only_is_counted_and_strangers_change_no_verdict() {
    let scene = Scene::new();
    let rsa = || KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let authority = Authority::from_params(authority_params("RSA Root"), rsa());
    let leaf = authority.server_for(Scene::HOST, &[Scene::HOST], rsa());
    scene.api().post_tls(Scene::DEPLOYMENT, &leaf.one_way()).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
    let device = Device::trusting(&authority);
    let connect = |device: &Device, third: u8, last: u8, name: &str| {
        let from = [127, 0, third, last];
        scene.connect(&device.clone().at(from), name).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let modern: Vec<_> = (1..=45).map(|n| connect(&device, n, 1, &format!("modern-{n}"))).collect();
    let share = |scene: &Scene| {
        let p256 = authority.server(&[Scene::HOST]).one_way();
        let check = scene.api().send("POST", &path("tls/check"), Some(&p256)).expect(200).json();
        (check["impact"]["severity"].clone(), check["impact"]["keyKindChanged"]["share"].clone())
    };
    assert_eq!(share(&scene), (json!("notable"), json!(0.0)), "another kind of key, and all can verify it");

    // With a fleet that can verify it, strangers make it no worse.
    let old = device.clone().verifying_rsa_only();
    let strangers = |scene: &Scene| {
        for n in 0..effort().strangers {
            let stranger = old.clone().at([127, 9, 9, u8::try_from(n % 250 + 1).unwrap()]);
            scene.connect(&stranger, &format!("stranger-{n}")).expect("a broker that takes everyone");
        }
    };
    strangers(&scene);
    assert_ne!(share(&scene).0, "severe", "one network");

    let dated: Vec<_> = (1..=5).map(|n| connect(&old, 100 + n, 1, &format!("dated-{n}"))).collect();
    let (severity, counted) = share(&scene);
    assert_eq!(severity, "severe");
    let counted = counted.as_f64().unwrap();
    assert!((0.09..=0.13).contains(&counted), "{counted}: 5 of 50, and at most one network more");
    strangers(&scene);
    assert_eq!(share(&scene).0, "severe");
    drop((modern, dated));
}
