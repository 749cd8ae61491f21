use crate::{HostSuffix, UpstreamAllow};

/// The boundary of one project.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Boundary {
    /// Where its deployments may relay to. `None`: wherever the nodes may.
    pub upstream_allow: Option<UpstreamAllow>,
    /// The names that this project alone may claim, and the only ones that it may. Without any it may claim all that are
    /// nobody's.
    pub host_suffixes: Vec<HostSuffix>,
}
