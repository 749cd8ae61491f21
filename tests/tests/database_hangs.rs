//! The database accepts connections and answers nothing, as with a dead disk: devices notice
//! nothing, clients get an error at once, and recovery is automatic.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use certward_tests::{
    Answer, Certward, DEADLINE, Leaf, PostgresServer, Scene, Setup, came_within, effort, wait_until,
};
use rustix::process::Signal;

const DEPLOYMENTS: [(&str, &str); 2] = [("one", "one.localhost"), ("two", "two.localhost")];
/// Per node.
const READERS: usize = 4;
/// If each had to time out, they would take minutes.
const REFUSALS: usize = 200;
/// A lease of 15 s, with at least 10 s left, is renewed in time.
const LEASE_HOLDS: Duration = Duration::from_secs(6);
/// Longer than a lease and its detection.
const LEASE_OVER: Duration = Duration::from_secs(20);

#[derive(Default)]
struct History {
    /// The number of each certificate's change, acknowledged or not.
    order: HashMap<Vec<u8>, usize>,
    acknowledged: usize,
    /// The newest reported `running`.
    running: usize,
}

struct Load<'a> {
    scene: &'a Scene,
    nodes: [&'a Certward; 2],
    histories: [Mutex<History>; DEPLOYMENTS.len()],
    over: AtomicBool,
    handshakes: AtomicUsize,
    /// An uncounted node is not waited for and shows old state until it is in sync.
    lapsed: AtomicBool,
    /// Answers that the store is unavailable, per node.
    refused: [AtomicUsize; 2],
    /// Milliseconds; printed only: the deadline is the promise.
    slowest: AtomicU64,
    faults: Mutex<Vec<String>>,
}

impl Load<'_> {
    fn fault(&self, text: String) {
        self.faults.lock().unwrap().push(text);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// The answer must be right, or the documented refusal.
    fn ask(&self, node: usize, method: &str, path: &str, body: &str) -> Option<Answer> {
        let began = Instant::now();
        let fields = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let answer = match self.nodes[node].api().try_send(method, path, fields, body) {
            Ok(answer) => answer,
            Err(error) => {
                self.fault(format!("{method} {path} has no answer: {error}"));
                return None;
            }
        };
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.slowest.fetch_max(took, Ordering::SeqCst);
        if began.elapsed() > DEADLINE {
            self.fault(format!("{method} {path} was answered after {:?}: {answer:?}", began.elapsed()));
        }
        match answer.status {
            200 => Some(answer),
            503 => {
                if answer.code() != "STORE_UNAVAILABLE" || answer.header("retry-after").is_none() {
                    self.fault(format!("{method} {path} is refused by {answer:?}"));
                }
                self.refused[node].fetch_add(1, Ordering::SeqCst);
                None
            }
            _ => {
                self.fault(format!("{method} {path} is answered by {answer:?}"));
                None
            }
        }
    }

    /// Changes through one node, and waits at the other.
    fn change(&self, index: usize) {
        let (id, host) = DEPLOYMENTS[index];
        let path = format!("/deployments/{id}/tls");
        for number in 1.. {
            if self.is_over() {
                return;
            }
            let leaf = self.scene.authority.server(&[host]);
            self.histories[index].lock().unwrap().order.insert(leaf.der.clone(), number);
            if self.ask(number % 2, "PUT", &path, &leaf.one_way().to_string()).is_none() {
                // It may have been carried out.
                continue;
            }
            self.histories[index].lock().unwrap().acknowledged = number;
            while !self.is_over() {
                let answer = self.ask((number + 1) % 2, "GET", &path, "");
                if answer.is_some_and(|answer| answer.tls_status() == "running") {
                    self.histories[index].lock().unwrap().running = number;
                    break;
                }
            }
        }
    }

    fn read(&self, node: usize) {
        while !self.is_over() {
            self.ask(node, "GET", &format!("/deployments/{}/tls", DEPLOYMENTS[0].0), "");
        }
    }

    fn handshake(&self, node: usize) {
        let device = self.scene.device();
        let client_id = format!("device-{node}");
        for number in 0.. {
            if self.is_over() {
                return;
            }
            let index = number % DEPLOYMENTS.len();
            let (id, host) = DEPLOYMENTS[index];
            let oldest = match self.lapsed.load(Ordering::SeqCst) {
                true => 0,
                false => self.histories[index].lock().unwrap().running,
            };
            match device.connect(self.nodes[node].mqtts(), host, &client_id) {
                Ok(session) => {
                    self.handshakes.fetch_add(1, Ordering::SeqCst);
                    let shown = self.histories[index].lock().unwrap().order[session.leaf()];
                    if shown < oldest {
                        self.fault(format!("{id} shows change {shown} although {oldest} was running"));
                    }
                }
                Err(error) => self.fault(format!("a handshake failed: {error}")),
            }
        }
    }

    /// Until each deployment has run two changes.
    #[track_caller]
    fn wait_for_changes(&self, what: &str) {
        let running = || self.histories.iter().map(|history| history.lock().unwrap().running);
        let before: Vec<_> = running().collect();
        let came = came_within(2 * DEADLINE, || {
            running().zip(&before).all(|(now, before)| now >= before + 2).then_some(())
        });
        assert!(came.is_some(), "no changes {what}: {:#?}", self.faults.lock().unwrap());
    }

    fn both_count(&self) -> bool {
        let count = |node| {
            let nodes = self.ask(node, "GET", "/nodes", "")?.json();
            Some(nodes.as_array()?.iter().filter(|node| node["status"] == "counted").count())
        };
        count(0) == Some(2) && count(1) == Some(2)
    }

    fn refusals(&self) -> [usize; 2] {
        [0, 1].map(|node| self.refused[node].load(Ordering::SeqCst))
    }

    /// Detected hangs, per node.
    fn outages(&self) -> [usize; 2] {
        self.nodes.map(|node| node.log().matches("the database cannot be used").count())
    }

    /// Hangs the database during the call. `before`: [`Load::outages`] before it.
    fn hang(&self, before: [usize; 2]) {
        wait_until("both nodes to know", || {
            self.outages().into_iter().zip(before).all(|(now, before)| now > before).then_some(())
        });
        let path = format!("/deployments/{}/tls", DEPLOYMENTS[0].0);
        let upload = self.scene.authority.server(&[DEPLOYMENTS[0].1]).one_way().to_string();
        let began = Instant::now();
        for number in 0..REFUSALS {
            let (method, body) = [("GET", ""), ("PUT", upload.as_str()), ("DELETE", "")][number % 3];
            let answered = self.ask(number % 2, method, &path, body);
            assert!(answered.is_none(), "{method} is answered by {answered:?}");
            assert!(began.elapsed() < DEADLINE, "only {number} of {REFUSALS} requests are refused by now");
        }
    }
}

/// Both nodes serve the newest acknowledged certificate or a later one.
fn assert_nothing_is_lost(load: &Load<'_>) {
    for ((id, host), history) in DEPLOYMENTS.iter().zip(&load.histories) {
        let history = history.lock().unwrap();
        for node in load.nodes {
            node.api().wait_running(id);
            let session = load.scene.device().connect(node.mqtts(), host, "last").unwrap();
            let shown = history.order[session.leaf()];
            assert!(shown >= history.acknowledged, "{id}: {shown} of {}", history.acknowledged);
        }
    }
}

#[test]
fn a_database_that_hangs_costs_no_handshake_and_no_change_and_no_program_its_patience() {
    let server = PostgresServer::start();
    let setup = Setup { store: Some(server.database()), log_level: "info", ..Setup::default() };
    let scene = Scene::with(setup.clone());
    let other = Certward::start_beside(&scene.certward, setup);
    let histories = DEPLOYMENTS.map(|(id, host)| {
        scene.api().create_deployment(id, &scene.broker.upstream(), &[host]);
        let leaf: Leaf = scene.authority.server(&[host]);
        scene.api().post_tls(id, &leaf.one_way()).expect(200);
        scene.api().wait_running(id);
        Mutex::new(History { order: HashMap::from([(leaf.der, 0)]), ..History::default() })
    });
    let load = Load {
        scene: &scene,
        nodes: [&scene.certward, &other],
        histories,
        over: AtomicBool::new(false),
        handshakes: AtomicUsize::new(0),
        lapsed: AtomicBool::new(false),
        refused: Default::default(),
        slowest: AtomicU64::new(0),
        faults: Mutex::default(),
    };
    thread::scope(|scope| {
        let over = Over(&load.over);
        for index in 0..DEPLOYMENTS.len() {
            let load = &load;
            scope.spawn(move || load.change(index));
        }
        for node in [0, 1] {
            let load = &load;
            scope.spawn(move || load.handshake(node));
            for _ in 0..READERS {
                scope.spawn(move || load.read(node));
            }
        }
        for round in 0..effort().outages {
            load.wait_for_changes("before");
            let handshakes = load.handshakes.load(Ordering::SeqCst);
            let outages = load.outages();
            server.signal_all(Signal::STOP);
            let stopped = Instant::now();
            load.hang(outages);
            // In every second round all leases expire.
            if round % 2 == 1 {
                thread::sleep(LEASE_OVER);
            }
            load.lapsed.store(stopped.elapsed() > LEASE_HOLDS, Ordering::SeqCst);
            server.signal_all(Signal::CONT);
            assert!(load.handshakes.load(Ordering::SeqCst) > handshakes);
            wait_until("both nodes to count", || load.both_count().then_some(()));
            load.lapsed.store(false, Ordering::SeqCst);
            load.wait_for_changes("after");
        }
        drop(over);
    });
    assert_eq!(*load.faults.lock().unwrap(), Vec::<String>::new());
    assert_nothing_is_lost(&load);
    let changes: usize = load.histories.iter().map(|history| history.lock().unwrap().running).sum();
    let refusals = load.refusals();
    let handshakes = load.handshakes.load(Ordering::SeqCst);
    // Repeated requests do not fill the log.
    for (node, refused) in load.nodes.iter().zip(refusals) {
        let told = node.log().matches("the store is unavailable").count();
        assert!(told > 0 && told < refused / 4, "{refused} refusals are told in {told} lines");
    }
    let slowest = load.slowest.load(Ordering::SeqCst);
    println!(
        "{changes} changes, {handshakes} handshakes, {refusals:?} refusals, the slowest answer after {slowest} ms"
    );
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
