use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum Unreachable {
    #[error("its name cannot be looked up: {0}")]
    NotResolved(Arc<io::Error>),
    #[error("its address {0} is not allowed as an upstream")]
    NotAllowed(IpAddr),
    #[error("its address {0} is not in the project's upstreamAllow")]
    NotAllowedByProject(IpAddr),
    #[error("its address {0} is one of this program's own listeners")]
    OwnListener(SocketAddr),
    #[error("{0}")]
    Refused(io::Error),
    #[error("it does not answer in time")]
    Timeout,
    #[error("too many connects to it are pending")]
    Crowded,
    #[error("no local port is left for connections to {0}")]
    SourcePortsExhausted(SocketAddr),
    #[error("connections cannot be made from {0}: {1}")]
    SourceUnusable(IpAddr, io::Error),
    #[error("no file descriptor is left: {0}")]
    OutOfFiles(io::Error),
}

impl Unreachable {
    /// All of [`Unreachable::reason`].
    pub(crate) const REASONS: [&str; 10] = [
        "not_resolved",
        "not_allowed",
        "not_allowed_by_project",
        "own_listener",
        "refused",
        "timeout",
        "crowded",
        "source_ports_exhausted",
        "source_unusable",
        "out_of_files",
    ];

    /// A stable name; docs/brokers.md has the remedies.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NotResolved(_) => "not_resolved",
            Self::NotAllowed(_) => "not_allowed",
            Self::NotAllowedByProject(_) => "not_allowed_by_project",
            Self::OwnListener(_) => "own_listener",
            Self::Refused(_) => "refused",
            Self::Timeout => "timeout",
            Self::Crowded => "crowded",
            Self::SourcePortsExhausted(_) => "source_ports_exhausted",
            Self::SourceUnusable(..) => "source_unusable",
            Self::OutOfFiles(_) => "out_of_files",
        }
    }
}

#[cfg(test)]
impl Unreachable {
    /// One of each variant.
    pub(crate) fn examples() -> [Self; 10] {
        let error = || io::Error::other("it");
        let address = SocketAddr::from(([10, 0, 0, 1], 1883));
        [
            Self::NotResolved(Arc::new(error())),
            Self::NotAllowed(address.ip()),
            Self::NotAllowedByProject(address.ip()),
            Self::OwnListener(address),
            Self::Refused(error()),
            Self::Timeout,
            Self::Crowded,
            Self::SourcePortsExhausted(address),
            Self::SourceUnusable(address.ip(), error()),
            Self::OutOfFiles(error()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use certward_lifecycle::broker_remedy;
    use certward_store::{DeploymentId, ProxyProtocol};

    use super::*;
    use crate::{observe::metrics::NOT_CONFIGURED, upstream::NO_ANSWER};

    #[test]
    fn each_reason_has_a_remedy_and_is_documented() {
        let page = include_str!("../../../../docs/brokers.md");
        let id = DeploymentId::parse("d").unwrap();
        let remedy = |reason: &str| broker_remedy(reason, &id, "mqtts", ProxyProtocol::None);
        for reason in Unreachable::REASONS.into_iter().chain([NO_ANSWER, NOT_CONFIGURED]) {
            assert!(page.contains(&format!("\n| `{reason}` | ")), "{reason}");
            assert_ne!(remedy(reason), remedy("another"), "{reason}");
        }
        let reasons = Unreachable::examples().map(|failure| failure.reason());
        assert_eq!(reasons, Unreachable::REASONS);
    }
}
