use crate::{HostSuffix, UpstreamAllow};

/// The boundary of one project.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Boundary {
    /// Where its deployments may relay to; `None`: no limit beyond the nodes' own.
    pub upstream_allow: Option<UpstreamAllow>,
    /// Names reserved for this project, which may claim no others. Empty: any unreserved name.
    pub host_suffixes: Vec<HostSuffix>,
}
