//! Who must have proven what before a certificate is `running`: random schedules of changes, nodes that crash, pause or are cut
//! off, and clocks that jump, held against a plain model of the contract after every step.
//!
//! Two things are kept apart: the *book*, which says what the store may say, and the *truth*, which is what each simulated node
//! really serves. `running` must be in the book, and true.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use certward_lifecycle::{DeploymentChange, ProofFailure, TlsError};
use certward_pki::{HostName, Upload};
use certward_store::{Generation, NodeId, Timestamp, TlsState};
use proptest::{prelude::*, test_runner::Config};
use support::{Authority, SETTINGS, World};

/// Schedules that are tried; with `CERTWARD_SOAK=1` as many as a night takes.
fn cases() -> u32 {
    if std::env::var_os("CERTWARD_SOAK").is_some_and(|value| value == "1") { 3_000 } else { 120 }
}

const NODES: usize = 3;

#[derive(Debug, Clone, Copy)]
enum Step {
    Create,
    Replace,
    Hosts,
    /// A change that is none of TLS's business.
    Rename,
    Delete,
    /// The node reads what it should serve, and serves it.
    Apply(usize),
    /// It says so, however long ago that was.
    Report(usize),
    /// Both, as a node does that is left alone.
    Prove(usize),
    ReportFailure(usize),
    ReportNoWayIn(usize),
    /// It renews its lease; where that is over it counts again, if it has seen every change.
    Renew(usize),
    Leave(usize),
    /// Its process ends without a word.
    Crash(usize),
    /// A new process of it begins.
    Start(usize),
    /// Both at once.
    Restart(usize),
    /// A new process of it begins that cannot reach the store at first, and serves what the node has kept.
    StartBehind(usize),
    /// It does nothing, or cannot reach the store, until it is `Resume`d; what it serves, it goes on serving.
    Pause(usize),
    Resume(usize),
    /// Every node looks at leases and deadlines; one is enough.
    Sweep,
    Forward(u64),
    Back(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0..NODES;
    prop_oneof![
        2 => Just(Step::Create),
        2 => Just(Step::Replace),
        1 => Just(Step::Hosts),
        1 => Just(Step::Rename),
        1 => Just(Step::Delete),
        8 => node.clone().prop_map(Step::Prove),
        3 => node.clone().prop_map(Step::Apply),
        3 => node.clone().prop_map(Step::Report),
        1 => node.clone().prop_map(Step::ReportFailure),
        1 => node.clone().prop_map(Step::ReportNoWayIn),
        6 => node.clone().prop_map(Step::Renew),
        1 => node.clone().prop_map(Step::Leave),
        1 => node.clone().prop_map(Step::Crash),
        2 => node.clone().prop_map(Step::Start),
        5 => node.clone().prop_map(Step::Restart),
        3 => node.clone().prop_map(Step::StartBehind),
        1 => node.clone().prop_map(Step::Pause),
        2 => node.prop_map(Step::Resume),
        4 => Just(Step::Sweep),
        4 => (1..20_u64).prop_map(Step::Forward),
        1 => (20..200_u64).prop_map(Step::Forward),
        1 => (1..30_u64).prop_map(Step::Back),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Absent,
    Pending,
    Running,
    Failed,
    Terminated,
}

/// A simulated node.
#[derive(Debug)]
struct Node {
    id: NodeId,
    up: bool,
    paused: bool,
    /// What its process serves: nothing, until it has read something.
    serves: Option<Generation>,
    /// What it has proven, as it knows itself, since its process began.
    has_served: BTreeSet<Generation>,
    /// What its process served last: what is proven is on its disk.
    kept: Option<Generation>,
}

impl Node {
    fn crash(&mut self) {
        self.kept = self.serves.take().or(self.kept);
        self.up = false;
        self.has_served.clear();
    }
}

/// What the contract lets the store say.
#[derive(Debug)]
struct Book {
    state: State,
    generation: Generation,
    /// The generation of the newest accepted upload, if one is set.
    version: Option<Generation>,
    deadline: Timestamp,
    leases: BTreeMap<usize, Timestamp>,
    /// Who is counted, and whether it has proven the generation.
    counted: BTreeMap<usize, bool>,
    now: Timestamp,
}

impl Book {
    fn is_settled(&self) -> bool {
        matches!(self.state, State::Absent | State::Running)
    }

    fn live(&self) -> impl Iterator<Item = usize> {
        self.leases.iter().filter(|(_, until)| **until > self.now).map(|(node, _)| *node)
    }

    fn change(&mut self, generation: Generation, state: State) {
        self.generation = generation;
        self.state = state;
        self.deadline = self.now.after(SETTINGS.prove_within);
        self.counted = self.live().map(|node| (node, false)).collect();
    }

    /// The certificate is what it was; but what was proven of the generation before says nothing of this one.
    fn change_otherwise(&mut self, generation: Generation) {
        self.generation = generation;
        self.counted.values_mut().for_each(|proven| *proven = false);
    }

    fn renew(&mut self, node: usize) {
        let joins = self.leases.get(&node).is_none_or(|until| *until <= self.now);
        self.leases.insert(node, self.now.after(SETTINGS.lease));
        if joins {
            if !self.is_settled() {
                self.counted.entry(node).or_insert(false);
            }
            self.deadline = self.deadline.max(self.now.after(SETTINGS.prove_within));
        }
    }

    fn forget(&mut self, node: usize) {
        if !self.is_settled() {
            self.counted.entry(node).and_modify(|proven| *proven = false);
        }
    }

    /// Whether something waited for it.
    fn end_lease(&mut self, node: usize) -> bool {
        self.leases.remove(&node);
        self.counted.remove(&node).is_some()
    }

    fn settle(&mut self) {
        let all = self.counted.values().all(|proven| *proven);
        match self.state {
            State::Pending | State::Failed if all && !self.counted.is_empty() => self.state = State::Running,
            State::Terminated if all => self.state = State::Absent,
            _ => {}
        }
    }

    fn report(&mut self, node: usize, generation: Generation, proof: &Result<(), ProofFailure>) {
        if self.is_settled() || generation != self.generation {
            return;
        }
        match proof {
            Ok(()) => {
                self.counted.entry(node).and_modify(|proven| *proven = true);
                self.settle();
            }
            Err(ProofFailure::NoWayIn) if self.state == State::Pending => self.state = State::Failed,
            Err(_) => {}
        }
    }

    fn sweep(&mut self) {
        let over: Vec<usize> =
            self.leases.iter().filter(|(_, until)| **until <= self.now).map(|(node, _)| *node).collect();
        let waited = over.into_iter().filter(|node| self.end_lease(*node)).count();
        if waited > 0 {
            self.settle();
        }
        let missing = self.counted.values().any(|proven| !proven);
        if self.state == State::Pending && self.now >= self.deadline && missing {
            self.state = State::Failed;
        }
    }
}

/// The store, the nodes, and the book about both.
struct Stage<'a> {
    world: World,
    uploads: std::iter::Cycle<std::slice::Iter<'a, Arc<Upload>>>,
    nodes: Vec<Node>,
    book: Book,
    /// How many hosts and names were drawn.
    drawn: usize,
}

impl<'a> Stage<'a> {
    async fn new(uploads: &'a [Arc<Upload>]) -> Self {
        let world = World::new().await;
        let node = |number| Node {
            id: NodeId::parse(&format!("node-{number}")).unwrap(),
            up: false,
            paused: false,
            serves: None,
            has_served: BTreeSet::new(),
            kept: None,
        };
        let now = world.lifecycle.store().clock().now();
        let book = Book {
            state: State::Absent,
            generation: world.generation().await,
            version: None,
            deadline: now,
            leases: BTreeMap::new(),
            counted: BTreeMap::new(),
            now,
        };
        let uploads = uploads.iter().cycle();
        Self { world, uploads, nodes: (0..NODES).map(node).collect(), book, drawn: 0 }
    }

    /// Whether the node can do anything with the store.
    fn acts(&self, node: usize) -> bool {
        self.nodes[node].up && !self.nodes[node].paused
    }

    async fn take(&mut self, step: Step) {
        let lifecycle = self.world.lifecycle.clone();
        match step {
            Step::Create => {
                let upload = Arc::clone(self.uploads.next().unwrap());
                let made = lifecycle.create_tls(&self.world.admin, &self.world.id, upload).await;
                assert_eq!(made.is_ok(), self.book.version.is_none(), "{:?}", made.err());
                if made.is_ok() {
                    self.accepted().await;
                }
            }
            Step::Replace => {
                let upload = Arc::clone(self.uploads.next().unwrap());
                let made = lifecycle.replace_tls(&self.world.admin, &self.world.id, upload).await;
                assert_eq!(made.is_ok(), self.book.version.is_some(), "{:?}", made.err());
                if made.is_ok() {
                    self.accepted().await;
                }
            }
            Step::Hosts => {
                self.drawn += 1;
                let host = HostName::parse(&format!("h{}.example.com", self.drawn)).unwrap();
                let generation =
                    self.change(DeploymentChange { hosts: Some(vec![host]), ..Default::default() }).await;
                match self.book.version {
                    Some(_) => self.book.change(generation, State::Pending),
                    None => self.book.change_otherwise(generation),
                }
            }
            Step::Rename => {
                self.drawn += 1;
                let name = Some(format!("name {}", self.drawn));
                let generation = self.change(DeploymentChange { name, ..Default::default() }).await;
                self.book.change_otherwise(generation);
            }
            Step::Delete => match lifecycle.delete_tls(&self.world.admin, &self.world.id).await {
                Ok(()) => {
                    assert!(self.book.version.take().is_some());
                    let generation = self.world.generation().await;
                    self.book.change(generation, State::Terminated);
                    self.book.settle();
                }
                Err(error) => {
                    assert!(matches!(error, TlsError::NotFound));
                    assert_eq!(self.book.version, None);
                }
            },
            Step::Apply(node) if self.acts(node) => self.apply(node).await,
            Step::Prove(node) if self.acts(node) => {
                self.apply(node).await;
                self.report(node, Ok(())).await;
            }
            Step::Report(node) => self.report(node, Ok(())).await,
            Step::ReportFailure(node) => {
                self.report(node, Err(ProofFailure::NotProven("a reason".into()))).await;
            }
            Step::ReportNoWayIn(node) => self.report(node, Err(ProofFailure::NoWayIn)).await,
            Step::Renew(node) if self.acts(node) => {
                if self.renew(node).await {
                    self.book.renew(node);
                }
            }
            Step::Leave(node) if self.acts(node) => {
                lifecycle.leave(&self.nodes[node].id).await.unwrap();
                if self.book.end_lease(node) {
                    self.book.settle();
                }
            }
            Step::Crash(node) => self.nodes[node].crash(),
            Step::Start(node) if !self.nodes[node].up && !self.nodes[node].paused => self.start(node).await,
            Step::Restart(node) if self.acts(node) => {
                self.nodes[node].crash();
                self.start(node).await;
            }
            Step::StartBehind(node) if !self.nodes[node].up && !self.nodes[node].paused => {
                self.start_behind(node).await;
            }
            Step::Pause(node) => self.nodes[node].paused = true,
            Step::Resume(node) => self.nodes[node].paused = false,
            Step::Sweep => {
                lifecycle.sweep().await.unwrap();
                self.book.sweep();
            }
            Step::Forward(seconds) => self.set_clock(self.book.now.after(Duration::from_secs(seconds))),
            Step::Back(seconds) => self.set_clock(self.book.now.before(Duration::from_secs(seconds))),
            // Nobody is there who could.
            Step::Apply(_)
            | Step::Prove(_)
            | Step::Renew(_)
            | Step::Leave(_)
            | Step::Start(_)
            | Step::Restart(_)
            | Step::StartBehind(_) => {}
        }
    }

    /// The generation that it leads to.
    async fn change(&self, change: DeploymentChange) -> Generation {
        let World { lifecycle, admin, id, .. } = &self.world;
        let changed = lifecycle.change_deployment(admin, id, change).await.unwrap();
        assert!(changed.generation > self.book.generation);
        changed.generation
    }

    async fn accepted(&mut self) {
        let generation = self.world.generation().await;
        self.book.version = Some(generation);
        self.book.change(generation, State::Pending);
    }

    async fn apply(&mut self, node: usize) {
        let (deployment, _) = self.world.lifecycle.assignment(&self.world.id).await.unwrap().unwrap();
        let node = &mut self.nodes[node];
        node.serves = Some(deployment.generation);
        node.has_served.insert(deployment.generation);
    }

    async fn start(&mut self, node: usize) {
        self.world.lifecycle.start(&self.nodes[node].id).await.unwrap();
        self.nodes[node].up = true;
        self.book.forget(node);
        self.book.renew(node);
    }

    async fn start_behind(&mut self, node: usize) {
        self.world.lifecycle.start_behind(&self.nodes[node].id).await.unwrap();
        let started = &mut self.nodes[node];
        (started.up, started.serves) = (true, started.kept);
        started.has_served.extend(started.kept);
        self.book.forget(node);
    }

    /// Whether it counts now.
    async fn renew(&self, node: usize) -> bool {
        let (lifecycle, Node { id, serves, .. }) = (&self.world.lifecycle, &self.nodes[node]);
        let renewed = lifecycle.renew(id).await.unwrap();
        assert_eq!(renewed, self.book.live().any(|live| live == node));
        // With one deployment, what it serves is all that it can have seen.
        let seen = serves.unwrap_or(Generation(0));
        let counts = renewed || lifecycle.rejoin(id, seen).await.unwrap();
        assert_eq!(counts, renewed || seen >= self.book.generation);
        counts
    }

    async fn report(&mut self, node: usize, proof: Result<(), ProofFailure>) {
        let Some(serves) = self.nodes[node].serves.filter(|_| self.acts(node)) else { return };
        self.book.report(node, serves, &proof);
        let id = &self.nodes[node].id;
        self.world.lifecycle.report(id, &self.world.id, serves, proof).await.unwrap();
    }

    fn set_clock(&mut self, now: Timestamp) {
        self.world.clock.set(now);
        self.book.now = now;
    }

    /// What the store says is what the book says; and `running` is true.
    async fn check(&self, was: State) {
        let deployment = self.world.deployment().await;
        let (state, version) = match &deployment.tls {
            TlsState::Absent => (State::Absent, None),
            TlsState::Pending { version, .. } => (State::Pending, Some(*version)),
            TlsState::Running { version } => (State::Running, Some(*version)),
            TlsState::Failed { version, .. } => (State::Failed, Some(*version)),
            TlsState::Terminated => (State::Terminated, None),
        };
        assert_eq!(
            (state, version, deployment.generation),
            (self.book.state, self.book.version, self.book.generation),
            "{:?}",
            self.book
        );
        let now_running = state == State::Running && was != State::Running;
        if now_running {
            self.assert_true();
        }
    }

    /// The moment a certificate becomes `running`, every node that is live and still runs has served this very generation.
    fn assert_true(&self) {
        assert!(!self.book.counted.is_empty(), "nobody has proven it");
        for node in self.book.live().filter(|node| self.book.counted.contains_key(node)) {
            let Node { id, up, has_served, .. } = &self.nodes[node];
            assert!(!up || has_served.contains(&self.book.generation), "{id} has never served it");
        }
    }

    /// Everything works again, and what was last asked for comes about.
    async fn heal(&mut self) {
        for node in 0..NODES {
            self.nodes[node].paused = false;
            self.take(Step::Start(node)).await;
        }
        for _ in 0..2 {
            for node in 0..NODES {
                for step in [Step::Renew(node), Step::Apply(node), Step::Report(node), Step::Sweep] {
                    let was = self.book.state;
                    self.take(step).await;
                    self.check(was).await;
                }
            }
        }
        let wanted = if self.book.version.is_some() { State::Running } else { State::Absent };
        assert_eq!(self.book.state, wanted, "it does not settle: {:?}", self.book);
    }
}

#[test]
fn running_is_said_exactly_when_it_is_proven() {
    let ca = Authority::new("CA");
    let uploads: Vec<Arc<Upload>> = (0..3).map(|_| ca.one_way().into()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = Config { cases: cases(), failure_persistence: None, ..Config::default() };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..80))| {
        runtime.block_on(async {
            let mut stage = Stage::new(&uploads).await;
            for step in steps {
                let was = stage.book.state;
                stage.take(step).await;
                stage.check(was).await;
            }
            stage.heal().await;
        });
    });
}
