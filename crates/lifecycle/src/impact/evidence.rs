use certward_pki::HostName;
use certward_store::{KnownPath, OfferDay};

use crate::{LiveEvidence, SilentNodes};

/// What is known of a deployment's devices.
#[derive(Debug, Clone)]
pub(super) struct ImpactEvidence {
    /// Of the nodes that answered, for the proposed trust.
    pub(super) live: LiveEvidence,
    /// Nodes with sessions.
    pub(super) live_nodes: u64,
    pub(super) silent: SilentNodes,
    pub(super) paths: Vec<KnownPath>,
    pub(super) offers: Vec<OfferDay>,
    /// That devices ask for; of this deployment.
    pub(super) hosts: Vec<HostName>,
}

impl ImpactEvidence {
    pub(super) fn is_empty(&self) -> bool {
        self.live.sessions == 0
            && self.paths.iter().all(|known| known.devices == 0)
            && self.offers.is_empty()
            && self.hosts.is_empty()
    }
}
