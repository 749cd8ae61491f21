use crate::{Generation, Timestamp};

/// Where a deployment's certificate stands. The steps between these states are `lifecycle`'s.
///
/// `version` is the generation at which the newest accepted upload was accepted; `generation` of the
/// [`crate::Deployment`] may have grown since, by a change of its hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsState {
    /// No certificate is set.
    Absent,
    /// Accepted and stored, not yet proven on every counted node.
    Pending {
        /// The newest accepted upload.
        version: Generation,
        /// When it fails if it is not proven by then.
        deadline: Timestamp,
    },
    /// Every counted node serves this upload and proved it.
    Running {
        /// The newest accepted upload.
        version: Generation,
    },
    /// A counted node could not prove it in time, or there is no way in. Not final.
    Failed {
        /// The newest accepted upload.
        version: Generation,
        /// Why, in one plain sentence.
        reason: String,
    },
    /// A deletion is being carried out: the keys are erased, and the counted nodes are letting go.
    Terminated,
}

impl TlsState {
    /// The newest accepted upload, where a certificate is set.
    pub fn version(&self) -> Option<Generation> {
        match self {
            Self::Pending { version, .. } | Self::Running { version } | Self::Failed { version, .. } => {
                Some(*version)
            }
            Self::Absent | Self::Terminated => None,
        }
    }
}
