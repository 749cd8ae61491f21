use std::{
    fs,
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    Answer, Api, Broker, Certward, Detour, Fault, FaultKind, PostgresServer, Setup, Taken, wait_until,
};

/// The slow line's round trip.
const DELAY: Duration = Duration::from_millis(300);
const SLOW_AT_FIRST: Duration = Duration::from_secs(2);

/// Several nodes on a PostgreSQL of their own, each behind a [`Detour`], and a broker.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<ClusterNode>,
    broker: Broker,
    server: Mutex<PostgresServer>,
}

/// One of them. Its ports stay across restarts.
#[derive(Debug)]
pub struct ClusterNode {
    certward: Mutex<Certward>,
    detour: Detour,
    api: Api,
    mqtts: SocketAddr,
    id: String,
    is_paused: AtomicBool,
}

impl Cluster {
    /// Starts it; each node has a whole replica.
    pub fn start(nodes: usize) -> Self {
        let server = PostgresServer::start();
        let store = server.database();
        let mut started: Vec<ClusterNode> = Vec::new();
        for _ in 0..nodes {
            let detour = Detour::before(&store);
            let setup = Setup { store: Some(detour.url().to_owned()), log_level: "info", ..Setup::default() };
            let certward = match started.first() {
                None => Certward::start_with(setup),
                Some(first) => Certward::start_beside(&lock(&first.certward), setup),
            };
            wait_until("a whole snapshot", || certward.log().contains("snapshot is whole").then_some(()));
            started.push(ClusterNode::new(certward, detour));
        }
        let broker = Broker::start(lock(&started[0].certward).folder());
        Self { nodes: started, broker, server: Mutex::new(server) }
    }

    /// The nodes.
    pub fn nodes(&self) -> &[ClusterNode] {
        &self.nodes
    }

    /// The upstream of all deployments.
    pub fn upstream(&self) -> String {
        self.broker.upstream()
    }

    /// The numbers of the counted nodes in an answer to `GET /nodes`.
    pub fn counted(&self, answer: &Answer) -> Vec<usize> {
        let list = answer.json();
        let counted = list.as_array().expect("a list").iter().filter(|node| node["status"] == "counted");
        counted.filter_map(|node| self.nodes.iter().position(|it| node["nodeID"] == it.id)).collect()
    }

    /// Carries out a fault, from its begin to its end.
    pub fn inflict(&self, fault: &Fault) {
        match fault.takes {
            Taken::Process(node) | Taken::Line(node) => self.nodes[node].inflict(fault),
            Taken::Database => {
                let mut server = lock(&self.server);
                match fault.kind {
                    FaultKind::DatabaseCrash => server.stop(),
                    _ => server.stop_fast(),
                }
                thread::sleep(fault.length);
                server.resume();
            }
        }
    }
}

impl ClusterNode {
    fn new(certward: Certward, detour: Detour) -> Self {
        let id = fs::read_to_string(certward.data().join("node.id")).expect("the node's id");
        Self {
            api: certward.api(),
            mqtts: certward.mqtts(),
            certward: Mutex::new(certward),
            detour,
            id: id.trim().to_owned(),
            is_paused: AtomicBool::new(false),
        }
    }

    /// Its API.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Its listener for devices.
    pub fn mqtts(&self) -> SocketAddr {
        self.mqtts
    }

    /// Whether its process is stopped by a signal, and answers nothing.
    pub fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::SeqCst)
    }

    /// The log of all its starts.
    pub fn log(&self) -> String {
        lock(&self.certward).log()
    }

    fn inflict(&self, fault: &Fault) {
        match fault.kind {
            FaultKind::Kill => {
                lock(&self.certward).kill();
                thread::sleep(fault.length);
                lock(&self.certward).serve();
            }
            FaultKind::Pause => {
                self.is_paused.store(true, Ordering::SeqCst);
                lock(&self.certward).signal(Signal::STOP);
                thread::sleep(fault.length);
                lock(&self.certward).signal(Signal::CONT);
                self.is_paused.store(false, Ordering::SeqCst);
            }
            FaultKind::LineCut => self.disturb(fault.length, Detour::cut),
            FaultKind::LineBlackHole => self.disturb(fault.length, Detour::block),
            FaultKind::LineDelay => self.disturb(fault.length, |detour| detour.slow_down(DELAY)),
            FaultKind::DatabaseRestart | FaultKind::DatabaseCrash => {
                unreachable!("they take the database")
            }
        }
    }

    /// A line that returns is slow at first: what follows takes long enough to be seen.
    fn disturb(&self, length: Duration, begin: impl FnOnce(&Detour)) {
        begin(&self.detour);
        thread::sleep(length);
        self.detour.slow_down(DELAY);
        self.detour.free();
        thread::sleep(SLOW_AT_FIRST);
        self.detour.slow_down(Duration::ZERO);
    }
}

/// Another thread's panic is reported where it happened.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
