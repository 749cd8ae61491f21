use std::time::Duration;

use crate::Seeded;

/// What is done to one node, or to the database of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// `kill -9`, and a new process.
    Kill,
    /// SIGSTOP for longer than a lease.
    Pause,
    /// Its connections to the database are closed.
    LineCut,
    /// Its line to the database loses all bytes.
    LineBlackHole,
    /// Its line to the database is slow.
    LineDelay,
    /// PostgreSQL is stopped by its administrator and started again.
    DatabaseRestart,
    /// PostgreSQL crashes and is started again.
    DatabaseCrash,
}

/// What a fault takes; faults that take the same of the same node do not overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The process of a node.
    Process(usize),
    /// The line of a node to the database.
    Line(usize),
    /// The database.
    Database,
}

impl Taken {
    /// The node that it disturbs, if it is one.
    pub fn node(self) -> Option<usize> {
        match self {
            Self::Process(node) | Self::Line(node) => Some(node),
            Self::Database => None,
        }
    }
}

/// A fault of the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Its kind.
    pub kind: FaultKind,
    /// What it takes.
    pub takes: Taken,
    /// From the fault before, at least.
    pub after: Duration,
    /// How long it lasts.
    pub length: Duration,
}

impl FaultKind {
    const ALL: [Self; 7] = [
        Self::Kill,
        Self::Pause,
        Self::LineCut,
        Self::LineBlackHole,
        Self::LineDelay,
        Self::DatabaseRestart,
        Self::DatabaseCrash,
    ];

    fn of(self, node: usize) -> Taken {
        match self {
            Self::Kill | Self::Pause => Taken::Process(node),
            Self::LineCut | Self::LineBlackHole | Self::LineDelay => Taken::Line(node),
            Self::DatabaseRestart | Self::DatabaseCrash => Taken::Database,
        }
    }

    /// Milliseconds. Half of the faults end before the lease of 15 s; a pause never does, so that
    /// the others have gone on without the node.
    fn length(self, random: &mut Seeded) -> (u64, u64) {
        match self {
            Self::Pause => (16_500, 22_000),
            Self::DatabaseRestart | Self::DatabaseCrash => (0, 4_000),
            _ if random.one_in(2) => (200, 4_000),
            _ => (4_000, 22_000),
        }
    }
}

impl Fault {
    const GAP: (u64, u64) = (300, 4_500);

    /// A schedule for so many nodes: of each seven faults in a row, each is of another kind.
    pub fn schedule(random: &mut Seeded, faults: usize, nodes: usize) -> Vec<Self> {
        let mut schedule = Vec::new();
        while schedule.len() < faults {
            let mut kinds = FaultKind::ALL;
            random.shuffle(&mut kinds);
            schedule.extend(kinds.map(|kind| Self::draw(random, kind, nodes)));
        }
        schedule.truncate(faults);
        schedule
    }

    fn draw(random: &mut Seeded, kind: FaultKind, nodes: usize) -> Self {
        let length = kind.length(random);
        let mut between =
            |(begin, end)| random.between(Duration::from_millis(begin), Duration::from_millis(end));
        let (after, length) = (between(Self::GAP), between(length));
        Self { kind, takes: kind.of(random.below(nodes)), after, length }
    }
}
