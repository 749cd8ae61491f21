use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};
use tokio::time::Instant;

use crate::StoreError;

/// From a read of SQLite's cache (0.1 ms) over an fsync (1 to 20 ms) to the deadline of a step
/// (12 s).
const BUCKETS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 12.0];

/// Latency and errors of reads and write transactions, those of a replica excluded.
#[derive(Debug)]
pub(crate) struct StoreMetrics {
    seconds: Family<StoreWorkLabel, Histogram, fn() -> Histogram>,
    errors: Family<StoreWorkLabel, Counter>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreWork {
    /// With the wait for a connection.
    Read,
    /// From the wait for the writer to the end of the commit.
    Write,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StoreWorkLabel {
    kind: &'static str,
}

impl StoreWork {
    fn label(self) -> StoreWorkLabel {
        StoreWorkLabel {
            kind: match self {
                Self::Read => "read",
                Self::Write => "write",
            },
        }
    }
}

impl Default for StoreMetrics {
    fn default() -> Self {
        let seconds: Family<_, _, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(BUCKETS));
        let errors = Family::default();
        for work in [StoreWork::Read, StoreWork::Write] {
            drop(seconds.get_or_create(&work.label()));
            drop(errors.get_or_create(&work.label()));
        }
        Self { seconds, errors }
    }
}

impl StoreMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("certward_store");
        registry.register_with_unit(
            "operation",
            "Time of a read with its wait for a connection, and of a write transaction from the wait for its turn to \
             the fsync of its commit; those of a node's snapshot are not in it",
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry.register(
            "errors",
            "Reads and write transactions that failed: the store is unreachable, locked, full or unreadable",
            self.errors.clone(),
        );
    }

    pub(crate) fn done<T>(&self, work: StoreWork, began: Instant, result: &Result<T, StoreError>) {
        match result {
            Ok(_) => {
                self.seconds.get_or_create(&work.label()).observe(began.elapsed().as_secs_f64());
            }
            Err(_) => self.failed(work),
        }
    }

    pub(crate) fn failed(&self, work: StoreWork) {
        self.errors.get_or_create(&work.label()).inc();
    }
}
