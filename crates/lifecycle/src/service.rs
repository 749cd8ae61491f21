use std::{sync::Arc, time::Duration};

use certward_store::{Nat64, Store};

use crate::{Entropy, NodeView, Rehearsal, judging::Judging};

/// The house's rules that an operator may set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a change may take to be proven before it is `failed` (60 s by default).
    pub prove_within: Duration,
    /// How long a node counts without renewing its lease (15 s by default).
    pub lease: Duration,
    /// How many deployments a project may have; 0: no limit.
    pub deployments_per_project_max: u32,
    /// Where IPv4 addresses are inside of IPv6 ones that a deployment names.
    pub nat64: Nat64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prove_within: Duration::from_secs(60),
            lease: Duration::from_secs(15),
            deployments_per_project_max: 0,
            nat64: Nat64::WELL_KNOWN_ONLY,
        }
    }
}

/// All that operators and nodes can ask for. Cheap to clone.
///
/// Methods are grouped by file: certificates in `tls.rs`, deployments, projects and keys in files of their names,
/// what nodes say and ask in `node.rs`.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    pub(crate) store: Store,
    pub(crate) rehearsal: Arc<dyn Rehearsal>,
    pub(crate) node_view: Arc<dyn NodeView>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) settings: Settings,
    pub(crate) judging: Judging,
}

impl Lifecycle {
    /// Puts the parts together.
    pub fn new(
        store: Store,
        rehearsal: Arc<dyn Rehearsal>,
        node_view: Arc<dyn NodeView>,
        entropy: Arc<dyn Entropy>,
        settings: Settings,
    ) -> Self {
        Self { store, rehearsal, node_view, entropy, settings, judging: Judging::new() }
    }

    /// The store: for reads that need no rule (lists, authentication, request log).
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The view of this node.
    pub fn node_view(&self) -> &Arc<dyn NodeView> {
        &self.node_view
    }
}
