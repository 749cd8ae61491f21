//! The roles `api` and `gateway` on nodes of their own.

use std::{net::TcpStream, sync::Arc, time::Duration};

use certward_tests::{Certward, Leaf, PostgresServer, Scene, Setup, run, wait_until, wait_within};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A lease and its detection.
const LEASE_OVER: Duration = Duration::from_secs(60);

fn setup(store: &str, role: &'static str, prove_within: &'static str) -> Setup {
    Setup { store: Some(store.to_owned()), role: Some(role), prove_within, ..Setup::default() }
}

struct Roles {
    scene: Scene,
    prove_within: &'static str,
    _server: Arc<PostgresServer>,
}

impl Roles {
    fn new(prove_within: &'static str) -> Self {
        let server = PostgresServer::shared();
        let scene = Scene::with(setup(&server.database(), "api", prove_within));
        Self { scene, prove_within, _server: server }
    }

    fn api(&self) -> &Certward {
        &self.scene.certward
    }

    fn gateway(&self) -> Certward {
        let setup = setup(&self.api().store_url(), "gateway", self.prove_within);
        Certward::start_beside(self.api(), setup)
    }

    fn shows(&self, gateway: &Certward, leaf: &Leaf) -> bool {
        let session = self.scene.device().connect(gateway.mqtts(), Scene::HOST, "looking");
        session.is_ok_and(|session| session.leaf() == leaf.der)
    }

    fn change(&self) -> Leaf {
        let leaf = self.scene.leaf();
        self.api().api().put_tls(Scene::DEPLOYMENT, &leaf.one_way()).expect(200);
        leaf
    }

    /// Role, status and pending proofs, ordered by role.
    fn listed(&self) -> Vec<(String, String, u64)> {
        let mut listed: Vec<_> = nodes(self.api())
            .iter()
            .map(|node| {
                assert_eq!(node["version"], env!("CARGO_PKG_VERSION"), "{node}");
                let text = |field: &str| node[field].as_str().unwrap_or_default().to_owned();
                (text("role"), text("status"), node["unproven"].as_u64().unwrap())
            })
            .collect();
        listed.sort();
        listed
    }

    #[track_caller]
    fn wait_listed(&self, expected: &[(&str, &str, u64)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(role, status, unproven)| ((*role).to_owned(), (*status).to_owned(), *unproven))
            .collect();
        wait_within(LEASE_OVER, &format!("{expected:?}"), || (self.listed() == expected).then_some(()));
    }
}

fn nodes(by: &Certward) -> Vec<Value> {
    by.api().get("/nodes").expect(200).json().as_array().unwrap().clone()
}

#[test]
fn without_a_gateway_nothing_is_running_and_no_node_warns_of_entry_points_that_others_have() {
    let roles = Roles::new("1s");
    let api = roles.scene.api();
    api.create_deployment_with(json!({"deploymentID": "bound", "upstream": "127.0.0.1:1"}));
    let upload = roles.scene.authority.server(&["bound.example.com"]).one_way();
    let accepted = api.post_tls("bound", &upload).expect(200).body;
    assert!(!accepted.contains("NO_WAY_IN"), "a listener of a gateway may be bound to it: {accepted}");

    let leaf = roles.scene.leaf();
    api.post_tls(Scene::DEPLOYMENT, &leaf.one_way()).expect(200);
    let path = format!("/deployments/{}/tls", Scene::DEPLOYMENT);
    let waited = api.try_send("GET", &path, "Prefer: wait=3\r\n", "").unwrap();
    assert_eq!(waited.tls_status(), "pending");
    assert_eq!(roles.listed(), [("api".to_owned(), "uncounted".to_owned(), 0)]);
    let answer = api.get(&format!("{path}/failures")).expect(404);
    assert_eq!(answer.code(), "NOT_FOUND", "what others saw is not «nothing»");

    let gateway = roles.gateway();
    api.wait_running(Scene::DEPLOYMENT);
    assert!(roles.shows(&gateway, &leaf));
    // The gateway reports the reason.
    let failed = api.wait_status("bound", "failed");
    assert!(failed["reason"].as_str().unwrap().contains("no device can reach"), "{failed}");
    assert!(!roles.api().data().join("snapshot.db").exists(), "it serves no devices from one");
    assert!(gateway.data().join("snapshot.db").exists());
}

#[test]
fn a_change_through_the_api_waits_for_every_gateway_and_the_end_of_the_api_disturbs_no_device() {
    let mut roles = Roles::new("60s");
    let (first, mut second) = (roles.gateway(), roles.gateway());
    let leaf = roles.scene.run_one_way();
    assert!(roles.shows(&first, &leaf) && roles.shows(&second, &leaf));
    roles.wait_listed(&[("api", "uncounted", 0), ("gateway", "counted", 0), ("gateway", "counted", 0)]);
    let table = String::from_utf8(roles.api().cli(&["nodes"]).stdout).unwrap();
    for word in ["ROLE", "VERSION", "LAST HEARD", "gateway", "api", "uncounted", env!("CARGO_PKG_VERSION")] {
        assert!(table.contains(word), "{word}: {table}");
    }

    second.signal(Signal::STOP);
    let renewed = roles.change();
    wait_until("the certificate on the other", || roles.shows(&first, &renewed).then_some(()));
    assert_eq!(roles.scene.api().tls(Scene::DEPLOYMENT).tls_status(), "pending");
    roles.wait_listed(&[("api", "uncounted", 0), ("gateway", "counted", 0), ("gateway", "counted", 1)]);
    second.signal(Signal::CONT);
    roles.scene.api().wait_running(Scene::DEPLOYMENT);
    assert!(roles.shows(&second, &renewed));

    // A gateway answers probes only.
    for path in
        ["/public_api/v1/deployments", "/public_api/v1/nodes", "/public_api/v1/deployments/ge6a1a75/tls"]
    {
        let answer = first.api().try_send_at("GET", path, "", "").unwrap().expect(404);
        assert_eq!(answer.code(), "NOT_FOUND", "{answer:?}");
    }
    let ready = first.api().try_send_at("GET", "/readyz", "", "").unwrap().expect(200).json();
    assert_eq!(ready, json!({"status": "ready", "role": "gateway", "gateway": true, "store": true}));
    assert!(first.api().metric("certward_gateway_snapshot_whole") > 0.0);

    let mut staying = roles.scene.device().connect(first.mqtts(), Scene::HOST, "staying").unwrap();
    roles.scene.certward.kill();
    staying.ping().unwrap();
    assert!(roles.shows(&first, &renewed) && roles.shows(&second, &renewed));
    roles.scene.certward.serve();
    assert_eq!(roles.scene.api().tls(Scene::DEPLOYMENT).tls_status(), "running");
    // A node that stops in order is not waited for.
    assert!(second.stop().success());
    roles.wait_listed(&[("api", "uncounted", 0), ("gateway", "counted", 0)]);
    roles.change();
    roles.scene.api().wait_running(Scene::DEPLOYMENT);
    staying.ping().unwrap();
}

#[test]
fn a_node_without_a_gateway_lets_deadlines_and_leases_end_when_no_other_can() {
    let roles = Roles::new("2s");
    let gateway = roles.gateway();
    roles.scene.run_one_way();
    gateway.signal(Signal::STOP);
    roles.change();
    let failed = roles.scene.api().wait_status(Scene::DEPLOYMENT, "failed");
    assert!(failed["reason"].as_str().unwrap().contains("in time"), "{failed}");
    roles.wait_listed(&[("api", "uncounted", 0), ("gateway", "lost", 0)]);
    let last = roles.change();
    gateway.signal(Signal::CONT);
    roles.scene.api().wait_running(Scene::DEPLOYMENT);
    assert!(roles.shows(&gateway, &last));
    roles.wait_listed(&[("api", "uncounted", 0), ("gateway", "counted", 0)]);
}

#[test]
fn each_role_is_taken_over_and_one_by_another() {
    let mut roles = Roles::new("60s");
    let (mut first, mut second) = (roles.gateway(), roles.gateway());
    roles.scene.run_one_way();
    let mut staying = roles.scene.device().connect(first.mqtts(), Scene::HOST, "staying").unwrap();
    let mut before = roles.scene.certward.take_over();
    assert!(before.wait().success());
    staying.ping().unwrap();
    let mut before = first.take_over();
    assert!(before.wait().success());
    staying.wait_closed().unwrap();
    let leaf = roles.change();
    roles.scene.api().wait_running(Scene::DEPLOYMENT);
    assert!(roles.shows(&first, &leaf) && roles.shows(&second, &leaf));
    let counted = [("api", "uncounted", 0), ("gateway", "counted", 0), ("gateway", "counted", 0)];
    roles.wait_listed(&counted);

    // It gives up its lease and is not waited for.
    second.use_role("api");
    let mut before = second.take_over();
    assert!(before.wait().success());
    roles.wait_listed(&[("api", "uncounted", 0), ("api", "uncounted", 0), ("gateway", "counted", 0)]);
    let leaf = roles.change();
    second.api().wait_running(Scene::DEPLOYMENT);
    assert!(roles.shows(&first, &leaf));
    TcpStream::connect(second.mqtts()).expect_err("there is no listener any more");

    second.use_role("gateway");
    let mut before = second.take_over();
    assert!(before.wait().success());
    roles.wait_listed(&counted);
    let leaf = roles.change();
    roles.scene.api().wait_running(Scene::DEPLOYMENT);
    assert!(roles.shows(&first, &leaf) && roles.shows(&second, &leaf));
}

#[test]
fn an_embedded_store_is_for_a_node_that_does_everything() {
    let certward = Certward::prepare(Setup::default());
    for (arguments, says) in [
        (["--role", "api"], "--role: the embedded store is that of one process"),
        (["--role", "gateway"], "set store to share a PostgreSQL database"),
        (["--role", "proxy"], "allowed are all, api and gateway"),
    ] {
        let mut command = certward.cli_without_key(&["serve"]);
        let output = run(command.args(arguments).arg("--config").arg(certward.config()));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(says), "{said}");
    }
}
