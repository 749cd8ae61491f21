use certward_pki::HostName;
use certward_store::Upstream;
use thiserror::Error;

/// Why a claim is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OutOfBounds {
    /// Another project's deployment uses it.
    #[error("{upstream} is used by a deployment of another project")]
    UpstreamTaken {
        /// The list.
        list: UpstreamField,
        /// As given.
        upstream: Upstream,
    },
    /// The project's `upstreamAllow` lacks it.
    #[error("{upstream} is not allowed for the project")]
    UpstreamNotAllowed {
        /// The list.
        list: UpstreamField,
        /// As given.
        upstream: Upstream,
    },
    /// Under a suffix of another project, or covering one.
    #[error("the host {0} belongs to another project")]
    HostOfAnother(HostName),
    /// Under none of the project's suffixes.
    #[error("the host {0} is under none of the project's suffixes")]
    HostNotAllowed(HostName),
    /// Covers names of different registrants, and no suffix of the project names it.
    #[error("the host {0} covers names of different registrants")]
    HostPublicSuffix(HostName),
    /// The quota is used up.
    #[error("the project has {0} deployments, and may have no more")]
    Quota(u32),
}

/// One of a deployment's two upstream lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamField {
    /// Plain MQTT.
    Upstream,
    /// Plain WebSocket.
    WsUpstream,
}
