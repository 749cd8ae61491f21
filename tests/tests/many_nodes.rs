//! Several nodes on one PostgreSQL: the same state, proven by every gateway.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use certward_tests::{
    Authority, Certward, Detour, Device, Leaf, PostgresServer, Scene, Setup, effort, wait_until, wait_within,
};
use rustix::process::Signal;
use serde_json::Value;

/// A lease and its detection.
const LEASE_OVER: Duration = Duration::from_secs(60);

fn setup(store: &str) -> Setup {
    Setup { store: Some(store.to_owned()), prove_within: "60s", ..Setup::default() }
}

/// The third node reaches the database through a proxy that can block.
struct Three {
    first: Scene,
    second: Certward,
    third: Option<Certward>,
    detour: Detour,
    _server: Arc<PostgresServer>,
}

impl Three {
    fn new() -> Self {
        let server = PostgresServer::shared();
        let store = server.database();
        let first = Scene::with(setup(&store));
        let detour = Detour::before(&store);
        let second = Certward::start_beside(&first.certward, setup(&store));
        let third = Certward::start_beside(&first.certward, setup(detour.url()));
        Self { first, second, third: Some(third), detour, _server: server }
    }

    fn third(&self) -> &Certward {
        self.third.as_ref().expect("it was not taken")
    }

    fn take_third(&mut self) -> Certward {
        self.third.take().expect("it was not taken")
    }

    fn shows(&self, node: &Certward, leaf: &Leaf) -> bool {
        let session = self.first.device().connect(node.mqtts(), Scene::HOST, "looking");
        session.is_ok_and(|session| session.leaf() == leaf.der)
    }

    /// Pending proofs of each counted node.
    fn waited_for(&self) -> Vec<u64> {
        let output = self.first.certward.cli(&["nodes", "--json"]);
        let nodes: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let counted = nodes.iter().filter(|node| node["status"] == "counted");
        counted.map(|node| node["unproven"].as_u64().unwrap()).collect()
    }

    #[track_caller]
    fn assert_all_show(&self, leaf: &Leaf) {
        for node in [&self.first.certward, &self.second, self.third()] {
            assert!(self.shows(node, leaf));
        }
    }
}

#[test]
fn running_is_said_when_every_live_node_has_proven_it_and_a_node_that_does_not_answer_is_not_waited_for() {
    let three = Three::new();
    let leaf = three.first.run_one_way();
    three.assert_all_show(&leaf);
    assert_eq!(three.waited_for(), [0, 0, 0]);

    // `running` at every node.
    let renewed = three.first.leaf();
    three.second.api().put_tls(Scene::DEPLOYMENT, &renewed.one_way()).expect(200);
    for node in [three.third(), &three.first.certward, &three.second] {
        node.api().wait_running(Scene::DEPLOYMENT);
        three.assert_all_show(&renewed);
    }

    // A paused node is waited for until its lease is over.
    three.third().signal(Signal::STOP);
    let newest = three.first.leaf();
    three.first.api().put_tls(Scene::DEPLOYMENT, &newest.one_way()).expect(200);
    wait_until("the new certificate on the others", || {
        let others = [&three.first.certward, &three.second];
        others.iter().all(|node| three.shows(node, &newest)).then_some(())
    });
    assert_eq!(three.second.api().tls(Scene::DEPLOYMENT).tls_status(), "pending");
    wait_until("that only the paused node is waited for", || {
        let mut waited_for = three.waited_for();
        waited_for.sort_unstable();
        (waited_for == [0, 0, 1]).then_some(())
    });
    wait_within(LEASE_OVER, "running without the paused node", || {
        (three.second.api().tls(Scene::DEPLOYMENT).tls_status() == "running").then_some(())
    });
    assert_eq!(three.waited_for(), [0, 0]);
    three.third().signal(Signal::CONT);
    wait_until("that the paused node has caught up", || three.shows(three.third(), &newest).then_some(()));
    assert_eq!(three.third().api().tls(Scene::DEPLOYMENT).tls_status(), "running");
}

#[test]
fn a_device_resumes_its_session_on_another_node_and_trust_that_ends_ends_on_all() {
    let three = Three::new();
    let clients = Authority::new("Device CA");
    three.first.run_two_way(&clients);
    let device = three.first.device().with_identity(&clients.client("device")).with_resumption();
    let connect = |device: &Device, node: &Certward| device.connect(node.mqtts(), Scene::HOST, "wanderer");
    connect(&device, &three.first.certward).unwrap().ping().unwrap();
    for node in [&three.second, three.third()] {
        let mut session = connect(&device, node).unwrap();
        session.ping().unwrap();
        assert!(session.is_resumed());
    }

    let mut staying = connect(&device, three.third()).unwrap();
    let others = Authority::new("Other CA");
    three.second.api().put_tls(Scene::DEPLOYMENT, &three.first.leaf().two_way(others.pem())).expect(200);
    staying.wait_closed().unwrap();
    three.first.api().wait_running(Scene::DEPLOYMENT);
    for node in [&three.first.certward, &three.second, three.third()] {
        connect(&device, node).expect_err("its CA is trusted no more, whatever its ticket says");
    }
}

#[test]
fn limits_are_exact_over_all_nodes() {
    let server = PostgresServer::shared();
    let setup = Setup { store: Some(server.database()), ..Setup::with_contract_limits() };
    let first = Scene::with(setup.clone());
    let second = Certward::start_beside(&first.certward, setup);
    first.run_one_way();
    let (apis, leaf) = ([first.api(), second.api()], first.leaf());
    let statuses: Vec<u16> = thread::scope(|scope| {
        let threads: Vec<_> = (0..50)
            .map(|number| {
                let (api, leaf) = (&apis[number % 2], &leaf);
                scope.spawn(move || api.put_tls(Scene::DEPLOYMENT, &leaf.one_way()).status)
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let count = |status| statuses.iter().filter(|one| **one == status).count();
    assert_eq!((count(200), count(429)), (6, 44), "{statuses:?}");
}

/// A returning node always has changes to read.
const WRITERS: usize = 4;

#[test]
fn a_node_that_was_away_counts_again_while_others_change_without_a_pause() {
    let server = PostgresServer::shared();
    let store = server.database();
    let first = Scene::with(setup(&store));
    let detour = Detour::before(&store);
    let second = Certward::start_beside(&first.certward, setup(detour.url()));
    let counted = || {
        let output = first.certward.cli(&["nodes", "--json"]);
        let nodes: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        nodes.iter().filter(|node| node["status"] == "counted").count()
    };
    wait_until("that both count", || (counted() == 2).then_some(()));
    let (over, changes) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (api, over, changes) = (first.api(), &over, &changes);
            scope.spawn(move || {
                let id = format!("writer{writer}");
                api.create_deployment(&id, "127.0.0.1:1883", &[]);
                while !over.load(Ordering::SeqCst) {
                    let number = changes.fetch_add(1, Ordering::SeqCst);
                    let name = serde_json::json!({"deploymentName": format!("change {number}")});
                    api.send("PATCH", &format!("/deployments/{id}"), Some(&name)).expect(200);
                }
            });
        }
        let away = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            detour.block();
            wait_within(LEASE_OVER, "that its lease is over", || (counted() == 1).then_some(()));
            let before = changes.load(Ordering::SeqCst);
            detour.free();
            wait_within(LEASE_OVER, "that it counts again", || (counted() == 2).then_some(()));
            assert!(changes.load(Ordering::SeqCst) > before, "they went on all the time");
        }));
        over.store(true, Ordering::SeqCst);
        away.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    drop(second);
}

struct Load<'a> {
    three: &'a Three,
    order: Mutex<HashMap<Vec<u8>, usize>>,
    /// The newest reported `running`.
    running: AtomicUsize,
    handshakes: AtomicUsize,
    over: AtomicBool,
    faults: Mutex<Vec<String>>,
}

impl Load<'_> {
    fn fault(&self, text: String) {
        self.faults.lock().unwrap().push(text);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Changes through the healthy nodes; the last acknowledged, and their number.
    fn change(&self, mut newest: Leaf) -> (Leaf, usize) {
        let nodes = [&self.three.first.certward, &self.three.second];
        for number in 1.. {
            if self.is_over() {
                return (newest, number - 1);
            }
            let [by, from] = [nodes[number % 2], nodes[(number + 1) % 2]].map(Certward::api);
            let leaf = self.three.first.leaf();
            self.order.lock().unwrap().insert(leaf.der.clone(), number);
            let answer = by.put_tls(Scene::DEPLOYMENT, &leaf.one_way());
            if answer.status != 200 {
                self.fault(format!("a change is answered {answer:?}"));
                continue;
            }
            newest = leaf;
            // The other node is asked.
            wait_within(LEASE_OVER, "running", || {
                (from.tls(Scene::DEPLOYMENT).tls_status() == "running").then_some(())
            });
            self.running.store(number, Ordering::SeqCst);
        }
        unreachable!("there are numbers without end")
    }

    fn handshake(&self, node: &Certward) {
        let device = self.three.first.device();
        let client_id = format!("device-of-{}", node.mqtts().port());
        while !self.is_over() {
            let oldest = self.running.load(Ordering::SeqCst);
            match device.connect(node.mqtts(), Scene::HOST, &client_id) {
                Ok(session) => {
                    self.handshakes.fetch_add(1, Ordering::SeqCst);
                    let shown = self.order.lock().unwrap()[session.leaf()];
                    if shown < oldest {
                        self.fault(format!("change {shown} is shown although {oldest} was running"));
                    }
                }
                Err(error) => self.fault(format!("a handshake failed: {error}")),
            }
        }
    }

    fn wait_for_changes(&self) {
        let before = self.running.load(Ordering::SeqCst);
        wait_within(LEASE_OVER, "two more changes", || {
            (self.running.load(Ordering::SeqCst) >= before + 2).then_some(())
        });
    }
}

#[test]
fn while_a_node_is_killed_paused_and_cut_off_no_change_is_lost_and_no_device_turned_away() {
    let mut three = Three::new();
    let first = three.first.run_one_way();
    let mut third = three.take_third();
    let load = Load {
        three: &three,
        order: Mutex::new(HashMap::from([(first.der.clone(), 0)])),
        running: AtomicUsize::new(0),
        handshakes: AtomicUsize::new(0),
        over: AtomicBool::new(false),
        faults: Mutex::default(),
    };
    let (newest, changes) = thread::scope(|scope| {
        let changes = scope.spawn(|| load.change(first));
        scope.spawn(|| load.handshake(&three.first.certward));
        scope.spawn(|| load.handshake(&three.second));
        for _ in 0..effort().outages {
            third.kill();
            load.wait_for_changes();
            third.serve();
            load.wait_for_changes();
            third.signal(Signal::STOP);
            load.wait_for_changes();
            third.signal(Signal::CONT);
            load.wait_for_changes();
            three.detour.block();
            load.wait_for_changes();
            three.detour.free();
            load.wait_for_changes();
        }
        load.over.store(true, Ordering::SeqCst);
        changes.join().unwrap()
    });
    let faults = load.faults.lock().unwrap();
    assert!(faults.is_empty(), "{faults:#?}");
    for node in [&three.first.certward, &three.second, &third] {
        wait_until("the last acknowledged change", || three.shows(node, &newest).then_some(()));
        assert_eq!(node.api().tls(Scene::DEPLOYMENT).tls_status(), "running");
    }
    let handshakes = load.handshakes.load(Ordering::SeqCst);
    assert!(handshakes > changes, "{handshakes} handshakes beside {changes} changes");
    println!("{changes} changes and {handshakes} handshakes while a node was killed, paused and cut off");
}
