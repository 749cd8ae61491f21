//! A device CA is replaced under a connected fleet, on three nodes, by `certward trust`.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{collections::BTreeSet, net::SocketAddr, process::Output};

use certward_pki::fingerprint;
use certward_tests::{
    Api, Authority, Certward, Device, PostgresServer, Scene, Session, Setup, effort, wait_until,
};
use serde_json::Value;

const NODES: usize = 3;
/// One of so many devices is not moved.
const STRAGGLER_EVERY: usize = 10;

/// A deployment on nodes that share a PostgreSQL.
struct Stage {
    scene: Scene,
    others: Vec<Certward>,
    old: Authority,
    new: Authority,
}

/// A device, by its number.
struct Member {
    name: String,
    node: SocketAddr,
    device: Device,
    session: Option<Session>,
}

impl Stage {
    fn new(server: &PostgresServer) -> Self {
        let store = server.database();
        let setup = || Setup { store: Some(store.clone()), log_level: "info", ..Setup::default() };
        let scene = Scene::with(setup());
        let others = (1..NODES).map(|_| Certward::start_beside(&scene.certward, setup())).collect();
        // Two of one name.
        let (old, new) = (Authority::new("Device CA"), Authority::new("Device CA"));
        scene.run_two_way(&old);
        Self { scene, others, old, new }
    }

    fn api(&self) -> Api {
        self.scene.api()
    }

    fn node(&self, number: usize) -> SocketAddr {
        match number % NODES {
            0 => self.scene.certward.mqtts(),
            other => self.others[other - 1].mqtts(),
        }
    }

    /// With a certificate of this CA; in both versions of TLS, with tickets.
    fn member(&self, number: usize, ca: &Authority) -> Member {
        let name = format!("device-{number}");
        let device = self.scene.device().with_identity(&ca.client(&name));
        let device = if number.is_multiple_of(2) { device.with_tls12() } else { device.with_tls13() };
        let device = device.with_resumption();
        let mut member = Member { name, node: self.node(number), device, session: None };
        member.connect();
        member
    }

    fn trust(&self, arguments: &[&str]) -> Output {
        self.scene.certward.cli(&[&["trust", arguments[0], Scene::DEPLOYMENT], &arguments[1..]].concat())
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = self.trust(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn wait_known(&self, devices: usize) {
        wait_until("every device is known", || {
            let path = format!("/deployments/{}/devices/summary", Scene::DEPLOYMENT);
            let summary = self.api().get(&path).expect(200).json();
            (summary["known"] == devices).then_some(())
        });
    }

    /// Sessions by client CA, of all nodes.
    fn connected(&self) -> Vec<(String, u64)> {
        let listed: Value = serde_json::from_str(&self.done(&["show", "--json"])).unwrap();
        let listed = listed.as_array().unwrap().iter();
        listed
            .map(|ca| (ca["fingerprint"].as_str().unwrap().to_owned(), ca["connected"].as_u64().unwrap()))
            .collect()
    }

    fn stragglers(&self) -> BTreeSet<String> {
        let csv = self.done(&["stragglers", &fingerprint(self.old.der()), "--csv"]);
        csv.lines().skip(1).map(|row| row.split(',').nth(1).unwrap().to_owned()).collect()
    }

    fn version(&self) -> Value {
        let path = format!("/deployments/{}/tls/versions", Scene::DEPLOYMENT);
        self.api().get(&path).expect(200).json()[0]["version"].clone()
    }
}

impl Member {
    fn connect(&mut self) {
        let connected = self.device.connect(self.node, Scene::HOST, &self.name);
        self.session = Some(connected.unwrap_or_else(|error| panic!("{}: {error}", self.name)));
    }

    fn ping(&mut self) {
        let session = self.session.as_mut().expect("it is connected");
        session.ping().unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_fleet_moves_to_another_ca_and_only_those_left_behind_are_refused() {
    let server = PostgresServer::shared();
    let stage = Stage::new(&server);
    let devices = effort().rotation;
    let mut fleet: Vec<Member> = (0..devices).map(|number| stage.member(number, &stage.old)).collect();
    stage.wait_known(devices);

    let new_ca = stage.new.write(stage.scene.certward.folder(), "new-ca.pem");
    stage.done(&["add", "--client-ca", new_ca.to_str().unwrap(), "--wait"]);
    fleet.iter_mut().for_each(Member::ping);
    // Tickets of before the addition, on each node and in both versions.
    for member in &mut fleet[..2 * NODES] {
        member.connect();
        assert!(member.session.as_ref().unwrap().is_resumed(), "{}", member.name);
    }
    let (old, new) = (fingerprint(stage.old.der()), fingerprint(stage.new.der()));
    let all = |of_old: usize, of_new: usize| {
        let counts = vec![(old.clone(), of_old as u64), (new.clone(), of_new as u64)];
        wait_until("sessions are counted by CA", || (stage.connected() == counts).then_some(()));
    };
    all(devices, 0);

    let is_straggler = |number: usize| number % STRAGGLER_EVERY == 3;
    for (number, member) in fleet.iter_mut().enumerate().filter(|(number, _)| !is_straggler(*number)) {
        *member = stage.member(number, &stage.new);
    }
    let left: BTreeSet<String> = (0..devices)
        .filter(|number| is_straggler(*number))
        .map(|number| format!("device-{number}"))
        .collect();
    let moved = devices - left.len();
    stage.wait_known(devices + moved);
    all(left.len(), moved);
    assert_eq!(stage.stragglers(), left);
    // One was lately seen, and is not connected.
    fleet[3].session = None;
    all(left.len() - 1, moved);
    assert_eq!(stage.stragglers(), left);

    let (before, prefix) = (stage.version(), &old[..12]);
    let stopped = stage.trust(&["remove", prefix]);
    assert_eq!(stopped.status.code(), Some(1), "{}", text(&stopped));
    for said in ["--force", "device-3", &format!("{} of them connected now", left.len() - 1)] {
        assert!(text(&stopped).contains(said), "{said}: {}", text(&stopped));
    }
    assert_eq!(stage.version(), before, "nothing was changed");
    fleet.iter_mut().filter(|member| member.session.is_some()).for_each(Member::ping);

    stage.done(&["remove", prefix, "--force", "--wait"]);
    for (number, member) in fleet.iter_mut().enumerate() {
        if !is_straggler(number) {
            member.ping();
            continue;
        }
        if let Some(mut session) = member.session.take() {
            session.wait_closed().unwrap_or_else(|error| panic!("{}: {error}", member.name));
        }
        // With its ticket, on each node.
        for node in 0..NODES {
            assert!(
                member.device.connect(stage.node(node), Scene::HOST, &member.name).is_err(),
                "{}",
                member.name
            );
        }
    }
    fleet.iter_mut().filter(|member| member.session.is_some()).take(2 * NODES).for_each(Member::connect);
    wait_until("sessions are counted", || (stage.connected() == [(new.clone(), moved as u64)]).then_some(()));
    let gone = stage.trust(&["stragglers", prefix]);
    assert!(text(&gone).contains("has no client CA whose fingerprint begins with"), "{}", text(&gone));
}

#[test]
fn a_renewed_ca_is_replaced_without_a_word_of_its_devices() {
    let server = PostgresServer::shared();
    let stage = Stage::new(&server);
    let mut member = stage.member(0, &stage.old);
    stage.wait_known(1);
    let renewed = stage.old.renewed("Device CA");
    let file = renewed.write(stage.scene.certward.folder(), "renewed-ca.pem");
    stage.done(&["add", "--client-ca", file.to_str().unwrap(), "--wait"]);
    assert!(stage.done(&["show"]).contains("are certificates of one CA"));
    let old = fingerprint(stage.old.der());
    assert!(stage.done(&["stragglers", &old]).starts_with("No known device of "));
    stage.done(&["remove", &old, "--wait"]);
    member.ping();
    member.connect();
    let last = stage.trust(&["remove", &fingerprint(renewed.der()), "--force"]);
    assert_eq!(last.status.code(), Some(1), "{}", text(&last));
    assert!(text(&last).contains("the only client CA"), "{}", text(&last));
    member.ping();
}
