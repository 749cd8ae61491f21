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
    /// Devices of paths that cannot be verified.
    pub(super) without_example: u64,
    pub(super) offers: Vec<OfferDay>,
    /// That devices ask for; of this deployment. All of its hosts, if nodes have not answered.
    pub(super) hosts: Vec<HostName>,
}

impl ImpactEvidence {
    /// Counted nodes have not answered: they may have devices of every kind.
    pub(super) fn is_incomplete(&self) -> bool {
        match &self.silent {
            SilentNodes::AllOthers => true,
            SilentNodes::These(nodes) => !nodes.is_empty(),
        }
    }

    /// No device is known, and no node is left that may know one.
    pub(super) fn is_empty(&self) -> bool {
        !self.is_incomplete()
            && self.live.sessions == 0
            && self.without_example == 0
            && self.paths.iter().all(|known| known.devices == 0)
            && self.offers.is_empty()
            && self.hosts.is_empty()
    }
}
