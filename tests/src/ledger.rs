//! What clients and devices of several nodes did and saw, for [`crate::Verdict`]. Times count from
//! the start of the run.

use std::time::Duration;

/// An accepted, refused or lost change of a deployment's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeId(pub usize);

/// From the first byte sent to the last byte received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Before the request.
    pub from: Duration,
    /// After the answer.
    pub to: Duration,
}

/// What a change makes of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// No certificate.
    Absent,
    /// A leaf of its own, for any device.
    OneWay,
    /// A leaf of its own, for devices of these client CAs.
    TwoWay(Vec<usize>),
}

impl Content {
    /// Whether a device with a certificate of this CA, or without one, is let in.
    pub fn admits(&self, ca: Option<usize>) -> bool {
        match self {
            Self::Absent => false,
            Self::OneWay => true,
            Self::TwoWay(cas) => ca.is_some_and(|ca| cas.contains(&ca)),
        }
    }
}

/// The answer to a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged.
    Made,
    /// Without an answer, or with one that leaves it open.
    Unknown,
    /// Refused, or never sent.
    NotMade,
}

/// A change that was tried.
#[derive(Debug, Clone)]
pub struct Change {
    /// Its number.
    pub id: ChangeId,
    /// Of this deployment.
    pub deployment: usize,
    /// What it makes of it.
    pub content: Content,
    /// When it was tried.
    pub span: Span,
    /// The answer.
    pub outcome: Outcome,
}

/// An answer of the API about a deployment.
#[derive(Debug, Clone)]
pub struct Read {
    /// Of this deployment.
    pub deployment: usize,
    /// When it was asked.
    pub span: Span,
    /// The newest accepted upload; `None` if there is no certificate.
    pub newest: Option<ChangeId>,
    /// If it is `running`, or the deletion is complete: the nodes that counted thereafter.
    pub settled: Option<Members>,
}

/// The counted nodes, asked for after another answer.
#[derive(Debug, Clone)]
pub struct Members {
    /// Their numbers.
    pub nodes: Vec<usize>,
    /// When their list was received.
    pub known_at: Duration,
}

/// How a device's connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The broker answered it.
    Admitted,
    /// The node refused it with an alert.
    Refused,
    /// The network, or a node that does not run.
    Broken,
}

/// A device's connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// To this deployment.
    pub deployment: usize,
    /// At this node.
    pub node: usize,
    /// From the connect to its end.
    pub span: Span,
    /// The CA of the device's certificate.
    pub ca: Option<usize>,
    /// The change whose leaf the node proved to have; `None` without a full handshake.
    pub shown: Option<ChangeId>,
    /// How it ended.
    pub end: End,
}

/// What a client or a device did and saw.
#[derive(Debug, Clone)]
pub enum Event {
    /// A change.
    Change(Change),
    /// A read.
    Read(Read),
    /// A connection.
    Connection(Connection),
    /// An answer that the documents do not allow.
    Unexpected(String),
}

impl Event {
    /// When it was known. A connection is judged by what was known when it began.
    pub fn known_at(&self) -> Duration {
        match self {
            Self::Change(change) => change.span.to,
            Self::Read(read) => read.settled.as_ref().map_or(read.span.to, |members| members.known_at),
            Self::Connection(connection) => connection.span.from,
            Self::Unexpected(_) => Duration::ZERO,
        }
    }
}
