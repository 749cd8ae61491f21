//! What the feed reader, the reconciler and the reporter of a node share.

use std::sync::{Arc, atomic::AtomicUsize};

use certward_lifecycle::Lifecycle;
use certward_store::NodeId;
use tokio::sync::Semaphore;

use crate::{
    config::{read_gate::Gate, trust_age::TrustAge},
    context::NodeContext,
    proof::prober::Prover,
    sync::{
        history::History, membership::Membership, progress::FeedProgress, replicator::Replicator,
        report_gate::ReportGate,
    },
};

/// A swap is a few store reads. Separate from proofs, which removals must not wait for.
const SWAPS_AT_ONCE: usize = 16;
/// A few handshakes each.
const PROOFS_AT_ONCE: usize = 16;

#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) context: Arc<NodeContext>,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) node: NodeId,
    pub(crate) prover: Prover,
    pub(crate) reports: Arc<ReportGate>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) trust_age: Arc<TrustAge>,
    pub(crate) replicator: Option<Arc<Replicator>>,
    pub(crate) progress: Arc<FeedProgress>,
    pub(crate) membership: Arc<Membership>,
    pub(crate) history: Arc<History>,
    pub(crate) scheduled: AtomicUsize,
    pub(crate) permits: Permits,
}

#[derive(Debug)]
pub(crate) struct Permits {
    pub(super) swaps: Semaphore,
    pub(super) proofs: Semaphore,
}

impl Default for Permits {
    fn default() -> Self {
        Self { swaps: Semaphore::new(SWAPS_AT_ONCE), proofs: Semaphore::new(PROOFS_AT_ONCE) }
    }
}
