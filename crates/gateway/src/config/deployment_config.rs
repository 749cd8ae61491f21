use std::{sync::Arc, time::Duration};

use certward_pki::HostName;
use certward_store::{
    ConnectionLimits, Deployment, Generation, ProjectId, Proxy, RecordBytes, TrustScope, UpstreamList,
    VersionId,
};
use rustls::server::danger::ClientCertVerifier;
use tokio::time::Instant;

use crate::{Protocol, config::tls_config::Identity, sync::membership::Epoch};

/// How this node handles a deployment's connections: immutable, replaced as a whole.
#[derive(Debug)]
pub(crate) enum DeploymentConfig {
    Served(Served),
    /// Connections of this deployment are refused.
    Refused(Refused),
}

/// A served deployment.
#[derive(Debug)]
pub(crate) struct Served {
    /// The deployment's generation this value was built for.
    pub(crate) generation: Generation,
    pub(crate) project: ProjectId,
    pub(crate) hosts: Box<[HostName]>,
    upstream: UpstreamList,
    ws_upstream: Option<UpstreamList>,
    /// The PROXY header sent to the broker.
    pub(crate) proxy: Proxy,
    /// Limits on connections at this node.
    pub(crate) limits: ConnectionLimits,
    /// Upper bound of the TLS records sent to devices.
    pub(crate) record_bytes: RecordBytes,
    pub(crate) identity: Arc<Identity>,
    /// Set if the previous version is served instead of the newest.
    pub(crate) fallback: Option<Fallback>,
}

/// The previous version is served instead of the newest.
#[derive(Debug, Clone)]
pub(crate) struct Fallback {
    /// The version that cannot be served.
    pub(crate) newest: VersionId,
    /// One plain sentence.
    pub(crate) reason: String,
    /// Permission holds for this membership epoch only.
    pub(crate) allowed_in: Epoch,
}

/// A refused deployment.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    /// Decides which live connections may stay.
    pub(crate) trust: KnownTrust,
    /// From then on a handshake may read the store again, in case the feed has no row for it.
    pub(crate) ask_again_at: Instant,
}

/// Why a deployment is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    Gone,
    NoCertificate,
    /// The stored material cannot be served.
    Unservable(String),
    /// The store did not answer.
    Unavailable(String),
}

/// The trust of a deployment that cannot be served, as far as it is known.
#[derive(Debug)]
pub(crate) enum KnownTrust {
    /// The store did not answer.
    Unknown,
    /// No device: the certificate is deleted, or the client trust cannot be built.
    Nobody,
    /// The newest version's trust could be built, its bundle could not.
    Scope { scope: TrustScope, verifier: Option<Arc<dyn ClientCertVerifier>> },
}

/// Which live connections of another trust scope may stay.
#[derive(Debug)]
pub(crate) enum Trust<'a> {
    /// Those of this scope; two-way also those with a chain that the verifier accepts, one-way all.
    Scope(TrustScope, Option<&'a Arc<dyn ClientCertVerifier>>),
    /// All: trust is unknown.
    Unknown,
    /// None.
    Nobody,
}

impl DeploymentConfig {
    pub(crate) fn trust(&self) -> Trust<'_> {
        match self {
            Self::Served(served) => {
                Trust::Scope(served.identity.trust_scope, served.identity.verifier.as_ref())
            }
            Self::Refused(refused) => match &refused.trust {
                KnownTrust::Unknown => Trust::Unknown,
                KnownTrust::Nobody => Trust::Nobody,
                KnownTrust::Scope { scope, verifier } => Trust::Scope(*scope, verifier.as_ref()),
            },
        }
    }

    /// Refused because the store did not answer.
    pub(crate) fn is_for_the_store(&self) -> bool {
        matches!(self, Self::Refused(Refused { refusal: Refusal::Unavailable(_), .. }))
    }

    /// Refused because the stored material cannot be served.
    pub(crate) fn is_unservable(&self) -> bool {
        matches!(self, Self::Refused(Refused { refusal: Refusal::Unservable(_), .. }))
    }

    /// Whether it can be used without reading the store. `epoch`: of the node's membership.
    pub(crate) fn is_fresh(&self, epoch: Epoch) -> bool {
        match self {
            Self::Served(served) => {
                served.fallback.as_ref().is_none_or(|fallback| fallback.allowed_in == epoch)
            }
            Self::Refused(refused) => Instant::now() < refused.ask_again_at,
        }
    }
}

impl Served {
    pub(crate) fn new(deployment: &Deployment, identity: Arc<Identity>, fallback: Option<Fallback>) -> Self {
        Self {
            generation: deployment.generation,
            project: deployment.project.clone(),
            hosts: deployment.hosts.as_slice().into(),
            upstream: deployment.upstream.clone(),
            ws_upstream: deployment.ws_upstream.clone(),
            proxy: deployment.proxy,
            limits: deployment.limits,
            record_bytes: deployment.record_bytes,
            identity,
            fallback,
        }
    }

    pub(crate) fn upstream(&self, protocol: Protocol) -> Option<&UpstreamList> {
        match protocol {
            Protocol::Mqtts => Some(&self.upstream),
            Protocol::Wss => self.ws_upstream.as_ref(),
        }
    }
}

impl Refused {
    pub(crate) fn new(refusal: Refusal, trust: KnownTrust) -> Self {
        let ask_again_at = Instant::now() + refusal.ask_again_after();
        Self { refusal, trust, ask_again_at }
    }
}

impl Refusal {
    /// The detail, beyond the kind.
    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Unservable(reason) | Self::Unavailable(reason) => Some(reason),
            Self::Gone | Self::NoCertificate => None,
        }
    }

    fn ask_again_after(&self) -> Duration {
        match self {
            // The feed reports changes within a second; this covers a deployment that has no row in
            // it.
            Self::Gone | Self::NoCertificate => Duration::from_secs(30),
            Self::Unservable(_) => Duration::from_secs(10),
            Self::Unavailable(_) => Duration::from_secs(1),
        }
    }
}
