use serde::{Deserialize, Serialize};

use crate::{judge::Figures, load::Workload};

/// certward beside its peers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) figures: Figures,
    /// Of a handshake in memory, CPU µs.
    pub(crate) floor: Vec<(Workload, f64)>,
}
