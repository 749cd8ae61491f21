//! The failed handshakes of a deployment are listed over all nodes.

use std::{fs, sync::Arc, time::Duration};

use certward_tests::{Answer, Authority, Certward, PostgresServer, Scene, Setup, wait_until, wait_within};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A lease and its detection.
const LEASE_OVER: Duration = Duration::from_secs(60);
/// Silent nodes are waited for in half of it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Two gateways, and a node without.
struct Nodes {
    scene: Scene,
    gateways: [Certward; 2],
    server: Arc<PostgresServer>,
}

impl Nodes {
    fn new() -> Self {
        let server = PostgresServer::shared();
        let store = server.database();
        let setup = |role| Setup {
            store: Some(store.clone()),
            role: Some(role),
            prove_within: "60s",
            ..Setup::default()
        };
        let scene = Scene::with(setup("api"));
        let gateways = ["all", "gateway"].map(|role| Certward::start_beside(&scene.certward, setup(role)));
        Self { scene, gateways, server }
    }

    fn ids(&self) -> [String; 2] {
        self.gateways.each_ref().map(|node| {
            let id = fs::read_to_string(node.data().join("node.id")).unwrap();
            id.trim().to_owned()
        })
    }

    /// A device of another CA meets a gateway.
    fn refused(&self, at: usize, name: &str) {
        let device = self.scene.device().with_identity(&Authority::new("Another CA").client(name));
        device.connect(self.gateways[at].mqtts(), Scene::HOST, name).expect_err("another CA");
    }

    /// An answer in time, through a node; the machine may be slow at first.
    fn failures(&self, through: &Certward) -> Answer {
        let path = format!("/public_api/v1/deployments/{}/tls/failures", Scene::DEPLOYMENT);
        let api = through.api_with_key_of(&self.scene.certward);
        wait_until("an answer in time", || api.try_send_within(ANSWER_TIMEOUT, "GET", &path, "", "").ok())
            .expect(200)
    }

    /// Waits until no node is missing and the devices are these, newest first; with their nodes.
    fn wait_listed(&self, through: &Certward, devices: &[(&str, &String)]) -> Value {
        let expected: Vec<_> =
            devices.iter().map(|(name, node)| (format!("CN={name}"), (*node).clone())).collect();
        wait_until(&format!("{expected:?}"), || {
            let answer = self.failures(through);
            let shown = answer.json();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let listed: Vec<_> = shown
                .as_array()
                .unwrap()
                .iter()
                .map(|failure| (text(&failure["clientCertificate"]["subject"]), text(&failure["node"])))
                .collect();
            (listed == expected && answer.header("certward-silent-nodes").is_none()).then_some(shown)
        })
    }

    /// Waits until exactly these are missing.
    fn wait_silent(&self, through: &Certward, silent: Option<&str>) -> Value {
        wait_until(&format!("silent: {silent:?}"), || {
            let answer = self.failures(through);
            (answer.header("certward-silent-nodes") == silent).then(|| answer.json())
        })
    }
}

#[test]
fn a_device_refused_by_any_node_is_listed_by_every_node_with_the_api() {
    let nodes = Nodes::new();
    nodes.scene.run_two_way(&Authority::new("Device CA"));
    let [first, second] = nodes.ids();
    nodes.refused(0, "meter-1");
    nodes.wait_listed(&nodes.gateways[0], &[("meter-1", &first)]);
    nodes.refused(1, "meter-2");
    for through in [&nodes.scene.certward, &nodes.gateways[0]] {
        let shown = nodes.wait_listed(through, &[("meter-2", &second), ("meter-1", &first)]);
        assert_eq!(shown[0]["cause"], "certificate_unknown_issuer");
        assert_eq!(shown[0]["neededCa"], json!({"name": "CN=Another CA", "nameKnown": false}));
        let remedy = shown[0]["remedy"].as_str().unwrap();
        assert!(remedy.contains("\"CN=Another CA\"") && remedy.contains(Scene::DEPLOYMENT), "{remedy}");
    }
    let shown = nodes.scene.certward.cli(&["tls", "failures", Scene::DEPLOYMENT]);
    let list = String::from_utf8_lossy(&shown.stdout).into_owned();
    for text in ["  node  ", &first, &second, "    subject  CN=meter-1\n", "    subject  CN=meter-2\n"] {
        assert!(list.contains(text), "{text}: {list}");
    }
    assert!(shown.stderr.is_empty(), "{}", String::from_utf8_lossy(&shown.stderr));
    let database = nodes.scene.certward.store_url();
    let database = database.rsplit('/').next().unwrap();
    let left = "SELECT (SELECT count(*) FROM node_question) + (SELECT count(*) FROM node_answer)";
    assert_eq!(nodes.server.query(database, left), "0", "nothing stays in the store");
}

#[test]
fn a_node_that_does_not_answer_is_named_in_time_until_it_is_back_or_gone() {
    let mut nodes = Nodes::new();
    nodes.scene.run_two_way(&Authority::new("Device CA"));
    let [first, second] = nodes.ids();
    nodes.refused(0, "meter-1");
    nodes.wait_listed(&nodes.scene.certward, &[("meter-1", &first)]);
    nodes.refused(1, "meter-2");
    nodes.wait_listed(&nodes.scene.certward, &[("meter-2", &second), ("meter-1", &first)]);

    nodes.gateways[1].signal(Signal::STOP);
    for through in [&nodes.scene.certward, &nodes.gateways[0]] {
        let shown = nodes.wait_silent(through, Some(&second));
        assert_eq!(shown.as_array().unwrap().len(), 1, "{shown}");
        assert_eq!(shown[0]["node"], first.as_str());
    }
    let said = nodes.scene.certward.cli(&["tls", "failures", Scene::DEPLOYMENT, "--json"]);
    assert!(said.status.success());
    assert_eq!(serde_json::from_slice::<Value>(&said.stdout).unwrap()[0]["node"], first.as_str());
    let note = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(note.contains(&format!("no answer in time from {second}; ")), "{note}");
    // A lost node may still serve devices, cut off from the store.
    wait_within(LEASE_OVER, "that it is lost", || {
        let listed = nodes.scene.api().get("/nodes").expect(200).json();
        let is_lost = |node: &Value| node["nodeID"] == second.as_str() && node["status"] == "lost";
        listed.as_array().unwrap().iter().any(is_lost).then_some(())
    });
    nodes.wait_silent(&nodes.scene.certward, Some(&second));

    nodes.gateways[1].signal(Signal::CONT);
    nodes.wait_listed(&nodes.scene.certward, &[("meter-2", &second), ("meter-1", &first)]);
    // A node that ends in order takes its list with it.
    assert!(nodes.gateways[1].stop().success());
    nodes.wait_listed(&nodes.scene.certward, &[("meter-1", &first)]);
    assert!(nodes.gateways[0].stop().success());
    let path = format!("/deployments/{}/tls/failures", Scene::DEPLOYMENT);
    let answer = nodes.scene.api().get(&path).expect(404);
    assert_eq!(answer.code(), "NOT_FOUND", "no gateway is not «no failures»");
}
