//! The proofs that `running` needs: after every step of random schedules with crashes, pauses, cut
//! lines, clock jumps and a database that loses its newest changes, the store is compared with a
//! model of the contract. First the shortest traces that the protocol's model checker found.
//!
//! The *book* says what the store may report, the *truth* what each simulated node serves, or would
//! after a crash. `running` must be in the book, and true.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use certward_lifecycle::{Handling, Member, Observation, ProofFailure, TlsError, Withdrawal, assignment_in};
use certward_pki::{HostName, NoEntryPoint, Upload};
use certward_store::{
    DeploymentPatch, FeedPosition, Generation, NodeId, Session, Timestamp, TlsState, VersionId,
};
use certward_test_support::effort;
use proptest::{prelude::*, test_runner::Config};
use support::{Authority, Backup, Uploads, World, session, settings};

const NODES: usize = 3;

#[derive(Debug, Clone, Copy)]
enum Step {
    Create,
    Replace,
    Hosts,
    /// Does not concern TLS.
    Rename,
    Delete,
    /// Reads what it should serve, and serves it.
    Apply(usize),
    /// Proves it, writes it to its replica, and sends its report.
    Send(usize),
    /// However late, even if the process has ended.
    Arrive(usize),
    /// All three.
    Prove(usize),
    ReportFailure(usize),
    ReportNoEntryPoint(usize),
    /// It can never serve what it should, and asks to serve what it has kept.
    Withdraw(usize),
    /// Renews its lease; if uncounted, it joins once it has applied the newest row.
    Renew(usize),
    /// Joins and is killed before the answer.
    JoinAndCrash(usize),
    Leave(usize),
    Crash(usize),
    /// A new process puts its session into the row and serves what the node has kept.
    Start(usize),
    /// Serves what the node has kept, without the store.
    StartAlone(usize),
    /// Without the store until `Resume`; it continues to serve.
    Pause(usize),
    Resume(usize),
    /// Leases and deadlines; one node is enough.
    Sweep,
    Forward(u64),
    Back(u64),
    /// The state of the next `Restore`: a lagging standby, or a backup.
    Remember,
    Restore,
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
        2 => node.clone().prop_map(Step::Send),
        2 => node.clone().prop_map(Step::Arrive),
        1 => node.clone().prop_map(Step::ReportFailure),
        1 => node.clone().prop_map(Step::ReportNoEntryPoint),
        2 => node.clone().prop_map(Step::Withdraw),
        8 => node.clone().prop_map(Step::Renew),
        1 => node.clone().prop_map(Step::JoinAndCrash),
        1 => node.clone().prop_map(Step::Leave),
        1 => node.clone().prop_map(Step::Crash),
        6 => node.clone().prop_map(Step::Start),
        3 => node.clone().prop_map(Step::StartAlone),
        1 => node.clone().prop_map(Step::Pause),
        2 => node.prop_map(Step::Resume),
        4 => Just(Step::Sweep),
        4 => (1..20_u64).prop_map(Step::Forward),
        1 => (20..200_u64).prop_map(Step::Forward),
        1 => (1..30_u64).prop_map(Step::Back),
        1 => Just(Step::Remember),
        1 => Just(Step::Restore),
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

/// As read at a row of the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Content {
    generation: Generation,
    version: Option<VersionId>,
    as_of: FeedPosition,
}

#[derive(Debug)]
struct Node {
    id: NodeId,
    up: bool,
    paused: bool,
    /// Once stored by its process.
    session: Option<Session>,
    /// Its own belief.
    counts: bool,
    /// Empty before its first read, and where it must refuse.
    serves: Option<Content>,
    /// Applied up to this row.
    carried_out: Option<FeedPosition>,
    /// Its replica.
    kept: Option<Content>,
    sent: Option<(Member, Content)>,
}

impl Node {
    fn crash(&mut self) {
        (self.up, self.counts, self.session, self.serves, self.carried_out) =
            (false, false, None, None, None);
    }

    fn drop_all(&mut self) {
        (self.serves, self.carried_out, self.kept) = (None, None, None);
    }

    fn member(&self) -> Option<Member> {
        self.session.map(|session| Member { id: self.id.clone(), session })
    }

    fn holds(&self) -> impl Iterator<Item = Content> {
        let serves = self.serves.filter(|_| self.up);
        serves.into_iter().chain(self.kept)
    }
}

/// What the store may report.
#[derive(Debug, Clone)]
struct Book {
    state: State,
    generation: Generation,
    /// Of the newest accepted upload.
    version: Option<VersionId>,
    deadline: Timestamp,
    /// Nodes with a row: session, and when a sweep may end it.
    rows: BTreeMap<usize, (Session, Timestamp)>,
    /// Whether each counted node has proven the generation.
    counted: BTreeMap<usize, bool>,
    history: BTreeMap<Generation, FeedPosition>,
    now: Timestamp,
}

impl Book {
    fn is_settled(&self) -> bool {
        matches!(self.state, State::Absent | State::Running)
    }

    fn has(&self, row: FeedPosition) -> bool {
        self.history.get(&row.generation) == Some(&row)
    }

    fn newest(&self) -> FeedPosition {
        *self.history.last_key_value().unwrap().1
    }

    fn is_member(&self, node: usize, session: Option<Session>) -> bool {
        session.is_some() && self.rows.get(&node).map(|(session, _)| *session) == session
    }

    fn change(&mut self, generation: Generation, state: State) {
        self.generation = generation;
        self.state = state;
        self.deadline = self.now.after(settings().prove_within);
        self.counted = self.rows.keys().map(|node| (*node, false)).collect();
    }

    /// Proofs of the earlier generation do not count.
    fn change_otherwise(&mut self, generation: Generation) {
        self.generation = generation;
        self.counted.values_mut().for_each(|proven| *proven = false);
    }

    fn join(&mut self, node: usize, session: Session) {
        self.rows.insert(node, (session, self.now.after(settings().lease)));
        if !self.is_settled() {
            self.counted.insert(node, false);
        }
        self.deadline = self.deadline.max(self.now.after(settings().prove_within));
    }

    fn register(&mut self, node: usize, session: Session) {
        if let Some(row) = self.rows.get_mut(&node) {
            row.0 = session;
        }
        self.take_back(node);
    }

    fn take_back(&mut self, node: usize) {
        if !self.is_settled() {
            self.counted.entry(node).and_modify(|proven| *proven = false);
        }
    }

    fn end(&mut self, nodes: &[usize]) {
        let mut waited = false;
        for node in nodes {
            self.rows.remove(node);
            waited |= self.counted.remove(node).is_some();
        }
        if waited {
            self.settle();
        }
    }

    fn settle(&mut self) {
        let all = self.counted.values().all(|proven| *proven);
        match self.state {
            State::Pending | State::Failed if all && !self.counted.is_empty() => self.state = State::Running,
            State::Terminated if all => self.state = State::Absent,
            _ => {}
        }
    }

    fn report(&mut self, node: usize, member: &Member, content: &Content, proof: &Result<(), ProofFailure>) {
        if self.is_settled()
            || content.generation != self.generation
            || !self.is_member(node, Some(member.session))
            || !self.has(content.as_of)
        {
            return;
        }
        match proof {
            Ok(()) => {
                self.counted.entry(node).and_modify(|proven| *proven = true);
                self.settle();
            }
            Err(ProofFailure::NoEntryPoint(_)) if self.state == State::Pending => self.state = State::Failed,
            Err(_) => {}
        }
    }

    fn sweep(&mut self) {
        let is_over =
            |(node, (_, until)): (&usize, &(Session, Timestamp))| (*until <= self.now).then_some(*node);
        let over: Vec<usize> = self.rows.iter().filter_map(is_over).collect();
        self.end(&over);
        let missing = self.counted.values().any(|proven| !proven);
        if self.state == State::Pending && self.now >= self.deadline && missing {
            self.state = State::Failed;
        }
    }
}

struct Stage<'a> {
    world: World,
    uploads: std::iter::Cycle<std::slice::Iter<'a, Arc<Upload>>>,
    nodes: Vec<Node>,
    book: Book,
    remembered: Option<(Backup, Book)>,
    drawn: usize,
}

impl<'a> Stage<'a> {
    async fn new(uploads: &'a [Arc<Upload>]) -> Self {
        let world = World::new().await;
        let node = |number| Node {
            id: NodeId::parse(&format!("node-{number}")).unwrap(),
            up: false,
            paused: false,
            session: None,
            counts: false,
            serves: None,
            carried_out: None,
            kept: None,
            sent: None,
        };
        let store = world.lifecycle.store();
        let (now, row) = (store.clock().now(), store.read_as_member().newest_position().await.unwrap());
        let book = Book {
            state: State::Absent,
            generation: world.generation().await,
            version: None,
            deadline: now,
            rows: BTreeMap::new(),
            counted: BTreeMap::new(),
            history: [(row.generation, row)].into(),
            now,
        };
        let (uploads, nodes) = (uploads.iter().cycle(), (0..NODES).map(node).collect());
        Self { world, uploads, nodes, book, remembered: None, drawn: 0 }
    }

    fn acts(&self, node: usize) -> bool {
        self.nodes[node].up && !self.nodes[node].paused && self.nodes[node].session.is_some()
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Create | Step::Replace => self.upload(matches!(step, Step::Create)).await,
            Step::Hosts => {
                self.drawn += 1;
                let host = HostName::parse(&format!("h{}.example.com", self.drawn)).unwrap();
                let generation =
                    self.change(DeploymentPatch { hosts: Some(vec![host]), ..Default::default() }).await;
                match self.book.version {
                    Some(_) => self.book.change(generation, State::Pending),
                    None => self.book.change_otherwise(generation),
                }
            }
            Step::Rename => {
                self.drawn += 1;
                let name = Some(format!("name {}", self.drawn));
                let generation = self.change(DeploymentPatch { name, ..Default::default() }).await;
                self.book.change_otherwise(generation);
            }
            Step::Delete => self.delete().await,
            Step::Apply(node) if self.acts(node) => self.apply(node).await,
            Step::Send(node) => self.send(node),
            Step::Arrive(node) => self.arrive(node, Ok(())).await,
            Step::Prove(node) if self.acts(node) => {
                self.apply(node).await;
                self.send(node);
                self.arrive(node, Ok(())).await;
            }
            Step::ReportFailure(node) => {
                self.send(node);
                self.arrive(node, Err(ProofFailure::NotProven("a reason".into()))).await;
            }
            Step::ReportNoEntryPoint(node) => {
                self.send(node);
                self.arrive(node, Err(ProofFailure::NoEntryPoint(NoEntryPoint::NoHost))).await;
            }
            Step::Withdraw(node) if self.acts(node) => self.withdraw(node).await,
            Step::Renew(node) if self.acts(node) => self.renew(node).await,
            Step::JoinAndCrash(node) if self.acts(node) => {
                self.join(node).await;
                self.nodes[node].crash();
            }
            Step::Leave(node) if self.acts(node) => self.leave(node).await,
            Step::Crash(node) => self.nodes[node].crash(),
            Step::Start(node) if !self.nodes[node].paused => self.start(node).await,
            Step::StartAlone(node) => self.start_alone(node),
            Step::Pause(node) => self.nodes[node].paused = true,
            Step::Resume(node) => self.nodes[node].paused = false,
            Step::Sweep => {
                self.world.lifecycle.sweep().await.unwrap();
                self.book.sweep();
            }
            Step::Forward(seconds) => self.set_clock(self.book.now.after(Duration::from_secs(seconds))),
            Step::Back(seconds) => self.set_clock(self.book.now.before(Duration::from_secs(seconds))),
            Step::Remember => self.remembered = Some((self.world.back_up().await, self.book.clone())),
            Step::Restore => self.restore().await,
            Step::Apply(_)
            | Step::Prove(_)
            | Step::Withdraw(_)
            | Step::Renew(_)
            | Step::JoinAndCrash(_)
            | Step::Leave(_)
            | Step::Start(_) => {}
        }
    }

    async fn upload(&mut self, creates: bool) {
        let (World { lifecycle, admin, .. }, this) = (&self.world, self.world.this().await);
        let upload = Arc::clone(self.uploads.next().unwrap());
        let made = if creates {
            lifecycle.create_tls(admin, &this, upload, Handling::Lenient).await
        } else {
            lifecycle.replace_tls(admin, &this, upload, Handling::Lenient, None).await
        };
        assert_eq!(made.is_ok(), self.book.version.is_none() == creates, "{:?}", made.err());
        if made.is_ok() {
            let generation = self.note_row().await;
            self.book.version = Some(generation.into());
            self.book.change(generation, State::Pending);
        }
    }

    async fn delete(&mut self) {
        let this = self.world.this().await;
        match self.world.lifecycle.delete_tls(&self.world.admin, &this, None).await {
            Ok(_) => {
                assert!(self.book.version.take().is_some());
                let generation = self.note_row().await;
                self.book.change(generation, State::Terminated);
                self.book.settle();
            }
            Err(error) => {
                assert!(matches!(error, TlsError::NotFound));
                assert_eq!(self.book.version, None);
            }
        }
    }

    async fn change(&mut self, change: DeploymentPatch) -> Generation {
        let (World { lifecycle, admin, .. }, this) = (&self.world, self.world.this().await);
        let changed = lifecycle.change_deployment(admin, &this, change).await.unwrap();
        assert_eq!(changed.generation, self.note_row().await);
        changed.generation
    }

    async fn note_row(&mut self) -> Generation {
        let row = self.world.lifecycle.store().read_as_member().newest_position().await.unwrap();
        assert!(self.book.history.insert(row.generation, row).is_none(), "a row of its own");
        row.generation
    }

    /// If the store's history is another one, the node leaves and drops its content.
    async fn looks_at_history(&mut self, node: usize) -> bool {
        let held: Vec<FeedPosition> = {
            let node = &self.nodes[node];
            node.holds().map(|content| content.as_of).chain(node.carried_out).collect()
        };
        if held.iter().all(|row| self.book.has(*row)) {
            return true;
        }
        self.leave(node).await;
        self.nodes[node].drop_all();
        false
    }

    async fn apply(&mut self, node: usize) {
        self.looks_at_history(node).await;
        let (deployment, certificate) =
            assignment_in(&self.world.lifecycle.store().read(), &self.world.id).await.unwrap().unwrap();
        let as_of = self.book.newest();
        let version = certificate.map(|certificate| certificate.newest.version);
        let node = &mut self.nodes[node];
        node.serves = Some(Content { generation: deployment.generation, version, as_of });
        node.carried_out = Some(as_of);
    }

    /// Written to its replica before it is reported.
    fn send(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        let Some(content) = node.serves.filter(|_| node.up && node.counts && !node.paused) else { return };
        let Some(member) = node.member() else { return };
        node.kept = Some(content);
        node.sent = Some((member, content));
    }

    async fn arrive(&mut self, node: usize, proof: Result<(), ProofFailure>) {
        let Some((member, content)) = self.nodes[node].sent.take() else { return };
        self.book.report(node, &member, &content, &proof);
        let id = &self.world.id;
        let observation = Observation { id, generation: content.generation, as_of: content.as_of };
        self.world.lifecycle.report(&member, &observation, proof).await.unwrap();
    }

    /// As if the newest version could not be opened.
    async fn withdraw(&mut self, node: usize) {
        if !self.looks_at_history(node).await {
            return;
        }
        let Some(older) = self.nodes[node].kept else { return };
        let (member, fresh) = (self.nodes[node].member().unwrap(), session());
        let (generation, as_of) = (self.book.generation, self.book.newest());
        let observation = Observation { id: &self.world.id, generation, as_of };
        let outcome = self.world.lifecycle.withdraw(&member, fresh, &observation, "it does not open").await;
        let outcome = outcome.unwrap();
        let expected = match self.book.rows.get(&node) {
            None => Withdrawal::NotCounted,
            Some((session, _)) if *session != member.session => Withdrawal::AnotherSession,
            Some(_) => Withdrawal::Done,
        };
        assert_eq!(outcome, expected);
        if outcome == Withdrawal::Done {
            self.book.rows.get_mut(&node).unwrap().0 = fresh;
            self.nodes[node].session = Some(fresh);
            if self.book.state == State::Running {
                let generation = self.note_row().await;
                self.book.change(generation, State::Failed);
            } else {
                self.book.take_back(node);
            }
        }
        if outcome != Withdrawal::AnotherSession {
            let as_of = self.book.newest();
            let node = &mut self.nodes[node];
            // Content permitted as a member of this epoch is dropped before it joins again.
            node.serves = Some(older);
            node.carried_out = Some(as_of);
        }
    }

    async fn renew(&mut self, node: usize) {
        if !self.nodes[node].counts {
            self.join(node).await;
            return;
        }
        let member = self.nodes[node].member().unwrap();
        let renewed = self.world.lifecycle.renew(&member.id, member.session).await.unwrap();
        assert_eq!(renewed, self.book.is_member(node, Some(member.session)));
        if renewed {
            let until = self.book.now.after(settings().lease);
            self.book.rows.get_mut(&node).unwrap().1 = until;
        }
        self.nodes[node].counts = renewed;
    }

    /// Reads the feed, drops content permitted instead of the newest, and joins if the newest row,
    /// this one, is applied and kept.
    async fn join(&mut self, node: usize) {
        if !self.looks_at_history(node).await {
            return;
        }
        let (newest, fresh) = (self.book.newest(), session());
        {
            let (version, node) = (self.book.version, &mut self.nodes[node]);
            node.counts = false;
            node.serves = node.serves.filter(|content| content.version == version);
            node.kept = node.serves;
            node.session = Some(fresh);
        }
        let carried_out = self.nodes[node].carried_out;
        let joined = self.world.lifecycle.join(&self.nodes[node].id, fresh, |row| async move {
            assert_eq!(row, newest);
            carried_out == Some(row)
        });
        let joined = joined.await.unwrap();
        assert_eq!(joined, carried_out == Some(newest));
        if joined {
            self.book.join(node, fresh);
            self.nodes[node].counts = true;
        }
    }

    async fn leave(&mut self, node: usize) {
        let Some(member) = self.nodes[node].member() else { return };
        self.world.lifecycle.leave(&member.id, member.session).await.unwrap();
        if self.book.is_member(node, Some(member.session)) {
            self.book.end(&[node]);
        }
        self.nodes[node].counts = false;
    }

    async fn start(&mut self, node: usize) {
        self.start_alone(node);
        let fresh = session();
        self.world.lifecycle.register(&self.nodes[node].id, fresh).await.unwrap();
        self.nodes[node].session = Some(fresh);
        self.book.register(node, fresh);
    }

    fn start_alone(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.crash();
        (node.up, node.serves) = (true, node.kept);
    }

    async fn restore(&mut self) {
        let Some((backup, book)) = &self.remembered else { return };
        self.world.restore(backup).await;
        self.book = Book { now: self.book.now, ..book.clone() };
    }

    fn set_clock(&mut self, now: Timestamp) {
        self.world.clock.set(now);
        self.book.now = now;
    }

    async fn check(&self) {
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
        if state == State::Running {
            self.assert_true();
        }
    }

    /// While `running`, every node with a row serves this version or refuses, now and after a crash
    /// with the store away; except for content of a lost history, until the node checks.
    fn assert_true(&self) {
        for node in self.book.rows.keys() {
            let Node { id, .. } = &self.nodes[*node];
            for content in self.nodes[*node].holds().filter(|content| self.book.has(content.as_of)) {
                assert_eq!(content.version, self.book.version, "{id} holds {content:?}: {:?}", self.book);
            }
        }
    }

    /// Everything works again: the last request succeeds.
    async fn heal(&mut self) {
        let all: BTreeSet<usize> = (0..NODES).collect();
        for node in &all {
            self.nodes[*node].paused = false;
            self.take(Step::Start(*node)).await;
        }
        for _ in 0..2 {
            for node in &all {
                let node = *node;
                for step in
                    [Step::Apply(node), Step::Renew(node), Step::Send(node), Step::Arrive(node), Step::Sweep]
                {
                    self.take(step).await;
                    self.check().await;
                }
            }
        }
        let wanted = if self.book.version.is_some() { State::Running } else { State::Absent };
        assert_eq!(self.book.state, wanted, "it does not settle: {:?}", self.book);
        assert!(self.nodes.iter().all(|node| node.counts), "all of them count again");
    }
}

fn uploads() -> Vec<Arc<Upload>> {
    let ca = Authority::new("CA");
    (0..3).map(|_| ca.one_way().into()).collect()
}

async fn play(uploads: &[Arc<Upload>], steps: &[Step]) {
    let mut stage = Stage::new(uploads).await;
    for step in steps {
        stage.take(*step).await;
        stage.check().await;
    }
    stage.heal().await;
}

#[test]
fn running_is_said_exactly_when_it_is_proven() {
    let uploads = uploads();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = Config { cases: effort().schedules, failure_persistence: None, ..Config::default() };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..80))| {
        runtime.block_on(play(&uploads, &steps));
    });
}

/// Found by the model checker, one for each fault that the protocol closes.
#[tokio::test]
async fn each_known_fault_of_membership_stays_closed() {
    use Step::*;
    let uploads = uploads();
    let begun = [Start(0), Apply(0), Renew(0), Start(1), Apply(1), Renew(1), Create, Prove(0), Prove(1)];
    let cases: [(&str, &[Step]); 10] = [
        ("a lease that has run out is renewed late", &[Forward(60), Replace, Renew(1), Prove(0), Sweep]),
        (
            "a node is killed right after it joined",
            &[Crash(1), Replace, Sweep, Start(1), Apply(1), JoinAndCrash(1), Prove(0), StartAlone(1)],
        ),
        (
            "a starting node serves what it has kept",
            &[Crash(1), Replace, Prove(0), Start(1), Renew(1), Pause(1), Forward(60), Renew(0), Sweep],
        ),
        (
            "an earlier process's report comes late",
            &[Replace, Apply(1), Send(1), Start(1), Arrive(1), Prove(0)],
        ),
        (
            "a report comes after its node withdrew",
            &[Replace, Apply(1), Send(1), Withdraw(1), Arrive(1), Prove(0)],
        ),
        (
            "a fail-over loses a change that was proven",
            &[Remember, Replace, Prove(0), Prove(1), Restore, Replace, Renew(0), Renew(1)],
        ),
        (
            "a backup comes back, and the same number is drawn",
            &[Remember, Replace, Apply(1), Send(1), Restore, Replace, Arrive(1), Prove(0)],
        ),
        (
            "a node joins over a row of lost history",
            &[Leave(1), Remember, Replace, Apply(1), Restore, Replace, Renew(1), Prove(0)],
        ),
        (
            "what was running fails, and a node that joined is not counted",
            &[Withdraw(0), Start(2), Apply(2), Renew(2), Crash(0), Forward(60), Sweep, Prove(1), Prove(2)],
        ),
        (
            "a node that joined a running change is waited for after a withdrawal",
            &[Start(2), Apply(2), Renew(2), Withdraw(0), Prove(1), Prove(0)],
        ),
    ];
    for (name, steps) in cases {
        eprintln!("{name}");
        play(&uploads, &[&begun, steps].concat()).await;
    }
}
