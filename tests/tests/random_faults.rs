//! Four nodes on one PostgreSQL under random faults that overlap: no false `running`, no lost
//! change, no device of a removed CA let in.
//!
//! `CERTWARD_SEED` repeats a schedule of faults and what clients try, not the order of threads.
//! Never done: faults on all nodes at once (but for a restarted database), two of a kind on one
//! node, a database that hangs or loses what it committed, a full disk, a clock that jumps.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, Scope},
    time::{Duration, Instant},
};

use certward_tests::{
    Answer, Authority, Cluster, ClusterNode, Device, Fault, FaultKind, Leaf, Liar, Packet, Seeded, Session,
    Taken, Verdict, Violation, came_within, effort,
    ledger::{Change, ChangeId, Connection, Content, End, Event, Members, Outcome, Read, Span},
    wait_within,
};
use serde_json::json;

const NODES: usize = 4;
/// A node without faults is left.
const DISTURBED_MAX: usize = NODES - 1;
/// Of devices.
const CAS: usize = 3;
/// Of a client that waits for `running` before its next change.
const PATIENCE_MAX: Duration = Duration::from_secs(3);
/// Shorter than a pause: the node carries out the request when it continues.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// From the longest fault, beside the start of a node.
const ROOM_TIMEOUT: Duration = Duration::from_secs(120);
/// For the last lease to end, all nodes to join, and the proofs.
const HEAL_TIMEOUT: Duration = Duration::from_secs(120);
/// Of a device; four processes and their load share the machine with other tests.
const PAUSE: Duration = Duration::from_millis(80);
/// Printed before a violation.
const STORY: Duration = Duration::from_secs(40);
const UPLOAD: &str = "Content-Type: application/json\r\n";

/// What its client makes of it.
#[derive(Clone, Copy)]
enum Habit {
    /// A new leaf for all.
    Renew,
    /// A new leaf and other client CAs.
    ChangeTrust,
    /// One-way or two-way.
    ChangeKind,
    /// Deleted, and set again.
    Delete,
}

struct Deployment {
    id: &'static str,
    hosts: [&'static str; 2],
    /// Server names of devices.
    names: [&'static str; 2],
    habit: Habit,
}

const DEPLOYMENTS: [Deployment; 4] = [
    Deployment {
        id: "renewed",
        hosts: ["renewed.localhost", "*.renewed.localhost"],
        names: ["renewed.localhost", "any.renewed.localhost"],
        habit: Habit::Renew,
    },
    Deployment {
        id: "two-way",
        hosts: ["two-way.localhost", "two.localhost"],
        names: ["two-way.localhost", "two.localhost"],
        habit: Habit::ChangeTrust,
    },
    Deployment {
        id: "either-way",
        hosts: ["either.localhost", "*.either.localhost"],
        names: ["either.localhost", "any.either.localhost"],
        habit: Habit::ChangeKind,
    },
    Deployment {
        id: "deleted",
        hosts: ["deleted.localhost", "gone.localhost"],
        names: ["deleted.localhost", "gone.localhost"],
        habit: Habit::Delete,
    },
];

impl Habit {
    fn next(self, random: &mut Seeded) -> Content {
        match (self, random.below(3)) {
            (Self::Renew, _) | (Self::ChangeKind | Self::Delete, 0) => Content::OneWay,
            (Self::Delete, 1) => Content::Absent,
            _ => Content::TwoWay(some_cas(random)),
        }
    }
}

/// One or two of three.
fn some_cas(random: &mut Seeded) -> Vec<usize> {
    let mut cas: Vec<usize> = (0..CAS).collect();
    random.shuffle(&mut cas);
    cas.truncate(1 + random.below(CAS - 1));
    cas
}

/// Devices of one CA, or without a certificate.
struct Devices {
    ca: Option<usize>,
    fresh: Device,
    resuming: Device,
}

/// Which node is asked, with these header fields.
#[derive(Clone, Copy)]
struct Ask<'a> {
    node: &'a ClusterNode,
    fields: &'static str,
}

/// A node that lies about the first deployment.
struct Lie {
    node: usize,
    liar: Liar,
}

struct Run {
    begin: Instant,
    cluster: Cluster,
    servers: Authority,
    cas: Vec<Authority>,
    devices: Vec<Devices>,
    lie: Option<Lie>,
    taken: Mutex<Vec<Taken>>,
    changes: AtomicUsize,
    leaves: Mutex<HashMap<Vec<u8>, ChangeId>>,
    events: Mutex<Vec<Event>>,
    over: AtomicBool,
}

/// Ends the other threads if this one panics.
struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

impl Run {
    fn prepare() -> Self {
        let servers = Authority::new("Test Server CA");
        let cas: Vec<Authority> = (0..CAS).map(|ca| Authority::new(&format!("Device CA {ca}"))).collect();
        let device = Device::trusting(&servers);
        let of = |(ca, authority): (usize, &Authority)| {
            let fresh = device.clone().with_identity(&authority.client("device"));
            Devices { ca: Some(ca), resuming: fresh.clone().with_resumption(), fresh }
        };
        let mut devices: Vec<Devices> = cas.iter().enumerate().map(of).collect();
        devices.push(Devices { ca: None, resuming: device.clone().with_resumption(), fresh: device });
        let run = Self {
            begin: Instant::now(),
            cluster: Cluster::start(NODES),
            servers,
            cas,
            devices,
            lie: None,
            taken: Mutex::default(),
            changes: AtomicUsize::new(0),
            leaves: Mutex::default(),
            events: Mutex::default(),
            over: AtomicBool::new(false),
        };
        for deployment in &DEPLOYMENTS {
            run.cluster.nodes()[0].api().create_deployment_with(json!({
                "deploymentID": deployment.id, "upstream": run.cluster.upstream(), "hosts": deployment.hosts,
            }));
        }
        run
    }

    /// The first leaf of each deployment, `running`.
    fn begin(&self, random: &mut Seeded) -> Vec<Leaf> {
        let first = |deployment| {
            let (id, leaf) = self.leaf(deployment);
            assert!(self.change(deployment, id, &Content::OneWay, &leaf, false, random));
            leaf
        };
        let leaves = (0..DEPLOYMENTS.len()).map(first).collect();
        self.wait_settled(random);
        leaves
    }

    /// Faults, and clients and devices beside them.
    fn play(&self, seed: &Seeded, schedule: &[Fault]) {
        thread::scope(|scope| {
            let _alarm = Alarm(&self.over);
            for deployment in 0..DEPLOYMENTS.len() {
                let random = seed.fork(100 + deployment as u64);
                self.spawn(scope, move || self.operate(deployment, random));
            }
            for node in 0..NODES {
                let random = seed.fork(200 + node as u64);
                self.spawn(scope, move || self.watch(node, random));
            }
            let random = seed.fork(3);
            self.spawn(scope, move || self.audit(random));
            self.inflict_all(scope, schedule);
            self.over.store(true, Ordering::SeqCst);
        });
        self.wait_settled(&mut seed.fork(1));
    }

    fn spawn<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, work: impl FnOnce() + Send + 'scope) {
        scope.spawn(move || {
            let _alarm = Alarm(&self.over);
            work();
        });
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    fn note(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    fn unexpected(&self, what: &str, answer: &Answer) {
        self.note(Event::Unexpected(format!("at {:?}: {what} is answered by {answer:?}", self.now())));
    }
}

/// Faults.
impl Run {
    /// Returns when all have ended.
    fn inflict_all<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, schedule: &[Fault]) {
        for fault in schedule.iter().copied() {
            came_within(fault.after, || self.is_over().then_some(()));
            wait_within(ROOM_TIMEOUT, "room for a fault", || {
                (self.is_over() || self.take(fault.takes)).then_some(())
            });
            if self.is_over() {
                return;
            }
            println!("{:>8.2?} {:?} of {:?} for {:?}", self.now(), fault.kind, fault.takes, fault.length);
            self.spawn(scope, move || {
                self.cluster.inflict(&fault);
                println!("{:>8.2?} {:?} of {:?} is over", self.now(), fault.kind, fault.takes);
                self.taken.lock().unwrap().retain(|taken| *taken != fault.takes);
            });
        }
        wait_within(ROOM_TIMEOUT, "an end of all faults", || {
            (self.is_over() || self.taken.lock().unwrap().is_empty()).then_some(())
        });
    }

    fn take(&self, takes: Taken) -> bool {
        let mut taken = self.taken.lock().unwrap();
        if taken.contains(&takes) {
            return false;
        }
        taken.push(takes);
        let has_room = disturbed(&taken).len() <= DISTURBED_MAX;
        if !has_room {
            taken.pop();
        }
        has_room
    }
}

fn disturbed(taken: &[Taken]) -> BTreeSet<usize> {
    taken.iter().filter_map(|takes| takes.node()).collect()
}

/// Clients of the API.
impl Run {
    fn operate(&self, deployment: usize, mut random: Seeded) {
        let mut exists = true;
        while !self.is_over() {
            let content = match DEPLOYMENTS[deployment].habit.next(&mut random) {
                Content::Absent if !exists => Content::OneWay,
                content => content,
            };
            let (id, leaf) = self.leaf(deployment);
            exists = self.change(deployment, id, &content, &leaf, exists, &mut random);
            let patience = random.between(PAUSE, PATIENCE_MAX);
            came_within(patience, || {
                (self.is_over() || self.check_patiently(deployment, &mut random).is_some()).then_some(())
            });
        }
    }

    /// Its common name is the number of the change.
    fn leaf(&self, deployment: usize) -> (ChangeId, Leaf) {
        let id = ChangeId(self.changes.fetch_add(1, Ordering::SeqCst));
        let leaf = self.servers.server_named(&id.0.to_string(), &DEPLOYMENTS[deployment].hosts);
        self.leaves.lock().unwrap().insert(leaf.der.clone(), id);
        (id, leaf)
    }

    /// Whether there is a certificate now, as far as the client knows.
    fn change(
        &self,
        deployment: usize,
        id: ChangeId,
        content: &Content,
        leaf: &Leaf,
        exists: bool,
        random: &mut Seeded,
    ) -> bool {
        let trust = |cas: &[usize]| cas.iter().map(|ca| self.cas[*ca].pem()).collect::<String>();
        let (method, fields, body) = match content {
            Content::Absent => ("DELETE", "", String::new()),
            Content::OneWay => (if exists { "PUT" } else { "POST" }, UPLOAD, leaf.one_way().to_string()),
            Content::TwoWay(cas) => {
                (if exists { "PUT" } else { "POST" }, UPLOAD, leaf.two_way(&trust(cas)).to_string())
            }
        };
        let node = if random.one_in(20) { self.any_node(random) } else { self.awake_node(random) };
        let from = self.now();
        let answer = send(node, method, &tls(deployment), fields, &body);
        let span = Span { from, to: self.now() };
        let (outcome, exists) = match &answer {
            Ok(answer) => match answer.status {
                200 | 204 => (Outcome::Made, *content != Content::Absent),
                503 if answer.code() == "STORE_UNAVAILABLE" => (Outcome::Unknown, exists),
                404 if answer.code() == "TLS_NOT_FOUND" => {
                    self.note(Event::Read(Read { deployment, span, newest: None, settled: None }));
                    (Outcome::NotMade, false)
                }
                422 if answer.code() == "TLS_ALREADY_EXISTS" => (Outcome::NotMade, true),
                _ => {
                    self.unexpected(method, answer);
                    (Outcome::Unknown, exists)
                }
            },
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => (Outcome::NotMade, exists),
            Err(_) => (Outcome::Unknown, exists),
        };
        self.note(Event::Change(Change { id, deployment, content: content.clone(), span, outcome }));
        exists
    }

    /// If the newest change is settled, devices connect to each counted node; how many there are.
    fn check(&self, deployment: usize, ask: Ask<'_>, random: &mut Seeded) -> Option<usize> {
        let (mut read, is_settled) = self.read(deployment, ask)?;
        if is_settled {
            read.settled = self.members(ask.node);
        }
        let counted = read.settled.as_ref().map(|members| members.nodes.clone());
        self.note(Event::Read(read));
        for node in counted.iter().flatten() {
            for devices in &self.devices {
                if !self.cluster.nodes()[*node].is_paused() {
                    self.connect(&devices.fresh, devices.ca, deployment, *node, random);
                }
            }
        }
        counted.map(|nodes| nodes.len())
    }

    /// Waits a second for a change to settle.
    fn check_patiently(&self, deployment: usize, random: &mut Seeded) -> Option<usize> {
        let ask = Ask { node: self.awake_node(random), fields: "Prefer: wait=1\r\n" };
        self.check(deployment, ask, random)
    }

    /// Devices connect to a node as soon as it counts again: it must have caught up before.
    fn audit(&self, mut random: Seeded) {
        let mut before: Vec<usize> = (0..NODES).collect();
        while !self.is_over() {
            let ask = Ask { node: self.undisturbed_node(), fields: "" };
            let Some(members) = self.members(ask.node) else { continue };
            if members.nodes.iter().any(|node| !before.contains(node)) {
                for deployment in 0..DEPLOYMENTS.len() {
                    self.check(deployment, ask, &mut random);
                }
            }
            before = members.nodes;
            thread::sleep(PAUSE / 4);
        }
    }

    fn read(&self, deployment: usize, ask: Ask<'_>) -> Option<(Read, bool)> {
        let from = self.now();
        let answer = send(ask.node, "GET", &tls(deployment), ask.fields, "").ok()?;
        let span = Span { from, to: self.now() };
        if answer.status != 200 {
            if answer.status != 503 {
                self.unexpected("GET", &answer);
            }
            return None;
        }
        let newest = answer.json()["cn"].as_str().map(|cn| ChangeId(cn.parse().expect("a number")));
        let is_settled = answer.tls_status() == "running" || answer.json() == json!({});
        Some((Read { deployment, span, newest, settled: None }, is_settled))
    }

    fn members(&self, node: &ClusterNode) -> Option<Members> {
        let answer = send(node, "GET", "/nodes", "", "").ok()?;
        if answer.status != 200 {
            if answer.status != 503 {
                self.unexpected("GET /nodes", &answer);
            }
            return None;
        }
        Some(Members { nodes: self.cluster.counted(&answer), known_at: self.now() })
    }

    fn any_node(&self, random: &mut Seeded) -> &ClusterNode {
        &self.cluster.nodes()[random.below(NODES)]
    }

    /// A request to a paused node takes as long as the pause.
    fn awake_node(&self, random: &mut Seeded) -> &ClusterNode {
        let awake: Vec<_> = self.cluster.nodes().iter().filter(|node| !node.is_paused()).collect();
        awake[random.below(awake.len())]
    }

    fn undisturbed_node(&self) -> &ClusterNode {
        let disturbed = disturbed(&self.taken.lock().unwrap());
        let mut nodes = self.cluster.nodes().iter().enumerate();
        let calm = nodes.find(|(number, _)| !disturbed.contains(number));
        calm.expect("faults leave one").1
    }

    /// Each deployment is settled, all nodes count, and devices connect to each.
    fn wait_settled(&self, random: &mut Seeded) {
        for (deployment, Deployment { id, .. }) in DEPLOYMENTS.iter().enumerate() {
            wait_within(HEAL_TIMEOUT, id, || {
                (self.check_patiently(deployment, random) == Some(NODES)).then_some(())
            });
        }
    }
}

fn tls(deployment: usize) -> String {
    format!("/deployments/{}/tls", DEPLOYMENTS[deployment].id)
}

fn send(node: &ClusterNode, method: &str, path: &str, fields: &str, body: &str) -> io::Result<Answer> {
    let path = format!("/public_api/v1{path}");
    node.api().try_send_within(REQUEST_TIMEOUT, method, &path, fields, body)
}

/// Devices.
impl Run {
    fn watch(&self, node: usize, mut random: Seeded) {
        while !self.is_over() {
            let deployment = random.below(DEPLOYMENTS.len());
            let devices = &self.devices[random.below(self.devices.len())];
            let device = if random.one_in(2) { &devices.resuming } else { &devices.fresh };
            self.connect(device, devices.ca, deployment, node, &mut random);
            thread::sleep(PAUSE);
        }
    }

    fn connect(
        &self,
        device: &Device,
        ca: Option<usize>,
        deployment: usize,
        node: usize,
        random: &mut Seeded,
    ) {
        let name = DEPLOYMENTS[deployment].names[random.below(2)];
        let from = self.now();
        let (shown, end) = match device.handshake(self.address(deployment, node), name) {
            Ok(mut session) => {
                let shown = (!session.is_resumed()).then(|| self.leaves.lock().unwrap()[session.leaf()]);
                (shown, self.connect_mqtt(&mut session, random))
            }
            Err(error) => (None, self.end(&error)),
        };
        let span = Span { from, to: self.now() };
        self.note(Event::Connection(Connection { deployment, node, span, ca, shown, end }));
    }

    /// Only now is a client certificate judged, in TLS 1.3.
    fn connect_mqtt(&self, session: &mut Session, random: &mut Seeded) -> End {
        let client_id = format!("device-{}", random.below(usize::MAX));
        match session.exchange(&Packet::connect(&client_id), &Packet::CONNACK) {
            Ok(()) => End::Admitted,
            Err(error) => self.end(&error),
        }
    }

    fn end(&self, error: &io::Error) -> End {
        match error.get_ref().and_then(|error| error.downcast_ref()) {
            Some(rustls::Error::AlertReceived(_)) => End::Refused,
            // For example another deployment's certificate.
            Some(other) => {
                self.note(Event::Unexpected(format!("at {:?}: a device reports {other}", self.now())));
                End::Broken
            }
            None => End::Broken,
        }
    }

    fn address(&self, deployment: usize, node: usize) -> SocketAddr {
        match &self.lie {
            Some(lie) if (deployment, node) == (0, lie.node) => lie.liar.address(),
            _ => self.cluster.nodes()[node].mqtts(),
        }
    }
}

/// The end.
impl Run {
    fn verdict(&self) -> Verdict {
        Verdict::of(&self.events.lock().unwrap(), DEPLOYMENTS.len(), NODES)
    }

    /// The events before the first violation that concern its deployment.
    fn print_story(&self, violations: &[Violation]) {
        let Some(of) = violations.iter().find_map(Violation::evidence) else { return };
        let mut events = self.events.lock().unwrap();
        events.sort_by_key(Event::known_at);
        let is_near = |time| time <= of.time + STORY / 4 && of.time <= time + STORY;
        let concerns = |event: &&Event| match event {
            Event::Change(it) => it.deployment == of.deployment,
            Event::Read(it) => it.deployment == of.deployment,
            Event::Connection(it) => it.deployment == of.deployment && of.node.is_none_or(|at| at == it.node),
            Event::Unexpected(_) => true,
        };
        for event in events.iter().filter(concerns).filter(|event| is_near(event.known_at())) {
            println!("{event:?}");
        }
    }
}

fn count_kinds(schedule: &[Fault]) -> BTreeMap<FaultKind, usize> {
    let mut kinds = BTreeMap::new();
    for fault in schedule {
        *kinds.entry(fault.kind).or_default() += 1;
    }
    kinds
}

fn seeded() -> (u64, Seeded) {
    let seed = Seeded::seed();
    println!("CERTWARD_SEED={seed}");
    (seed, Seeded::new(seed))
}

#[test]
fn under_random_faults_running_is_true_nothing_is_lost_and_removed_trust_stays_removed() {
    let ((seed, random), faults) = (seeded(), effort().random_faults);
    let run = Run::prepare();
    run.begin(&mut random.fork(2));
    let schedule = Fault::schedule(&mut random.fork(0), faults, NODES);
    run.play(&random, &schedule);
    let Verdict { violations, counts } = run.verdict();
    println!("{:?}", count_kinds(&schedule));
    println!("{counts:?} in {:.0?}", run.now());
    run.print_story(&violations);
    for violation in &violations {
        println!("{violation:?}");
    }
    assert!(violations.is_empty(), "CERTWARD_SEED={seed}: {} violations", violations.len());
    assert!(
        counts.acknowledged.min(counts.checks).min(counts.refused) > faults,
        "hardly any load: {counts:?}"
    );
}

#[test]
fn a_node_that_shows_an_old_certificate_is_found() {
    let (_, random) = seeded();
    let mut run = Run::prepare();
    let first = run.begin(&mut random.fork(2));
    run.lie = Some(Lie { node: NODES - 1, liar: Liar::showing(&first[0]) });
    let (after, length) = (PAUSE, PATIENCE_MAX);
    run.play(&random, &[Fault { kind: FaultKind::LineCut, takes: Taken::Line(0), after, length }]);
    let violations = run.verdict().violations;
    assert!(violations.iter().any(|it| matches!(it, Violation::FalseRunning(_))), "{violations:#?}");
    for violation in violations {
        let of = violation.evidence().map(|of| (of.deployment, of.node));
        assert_eq!(of, Some((0, Some(NODES - 1))), "{violation:?}");
    }
}
