use certward_pki::HostName;
use certward_store::Upstream;
use thiserror::Error;

/// Why a deployment may not have what it asks for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OutOfBounds {
    /// A deployment of another project uses the address.
    #[error("{upstream} is used by a deployment of another project")]
    UpstreamTaken {
        /// Which list it is in.
        list: UpstreamField,
        /// The address as it was given.
        upstream: Upstream,
    },
    /// The project's `upstreamAllow` does not have it.
    #[error("{upstream} is not allowed for the project")]
    UpstreamNotAllowed {
        /// Which list it is in.
        list: UpstreamField,
        /// The address as it was given.
        upstream: Upstream,
    },
    /// It is under a suffix of another project, or covers one.
    #[error("the host {0} belongs to another project")]
    HostOfAnother(HostName),
    /// It is under none of the project's own suffixes.
    #[error("the host {0} is under none of the project's suffixes")]
    HostNotAllowed(HostName),
    /// It is a wildcard over names of different registrants, and no suffix of the project names it.
    #[error("the host {0} covers names of different registrants")]
    HostPublicSuffix(HostName),
    /// The project has as many deployments as it may.
    #[error("the project has {0} deployments, and may have no more")]
    Quota(u32),
}

/// Which of a deployment's two lists of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamField {
    /// Plain MQTT.
    Upstream,
    /// Plain WebSocket.
    WsUpstream,
}
