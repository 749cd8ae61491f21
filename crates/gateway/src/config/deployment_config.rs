use std::{sync::Arc, time::Duration};

use certward_pki::HostName;
use certward_store::{
    ConnectionLimits, Deployment, Generation, ProjectId, Proxy, RecordBytes, TrustScope, UpstreamList,
    VersionId,
};
use rustls::server::danger::ClientCertVerifier;
use tokio::time::Instant;

use crate::{Protocol, config::tls_config::Identity, sync::membership::Epoch};

/// What this node does with a deployment's connections: one immutable value behind one pointer. A change is a new value.
#[derive(Debug)]
pub(crate) enum DeploymentConfig {
    /// They are served.
    Served(Served),
    /// They are refused, these alone.
    Refused(Refused),
}

/// A deployment as it is served.
#[derive(Debug)]
pub(crate) struct Served {
    /// The deployment's generation that this value was built for.
    pub(crate) generation: Generation,
    pub(crate) project: ProjectId,
    pub(crate) hosts: Box<[HostName]>,
    upstream: UpstreamList,
    ws_upstream: Option<UpstreamList>,
    /// What the broker is told of a connection.
    pub(crate) proxy: Proxy,
    /// How many connections this node lets in.
    pub(crate) limits: ConnectionLimits,
    /// The largest TLS record that devices are sent.
    pub(crate) record_bytes: RecordBytes,
    pub(crate) identity: Arc<Identity>,
    /// If this is the version before, and not the newest.
    pub(crate) fallback: Option<Fallback>,
}

/// That a version before the newest is served.
#[derive(Debug, Clone)]
pub(crate) struct Fallback {
    /// The newest, which cannot be served.
    pub(crate) newest: VersionId,
    /// Why, in one plain sentence.
    pub(crate) reason: String,
    /// It was allowed in this epoch of the node's membership, and in no other.
    pub(crate) allowed_in: Epoch,
}

/// A deployment that is not served.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    /// Whom live connections may still be.
    pub(crate) trust: KnownTrust,
    /// When a handshake may ask the store again, in case the feed did not tell.
    pub(crate) ask_again_at: Instant,
}

/// Why a deployment is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It does not exist.
    Gone,
    /// No certificate is set.
    NoCertificate,
    /// What is stored cannot be served.
    Unservable(String),
    /// The store did not answer.
    Unavailable(String),
}

/// What is known of whom a deployment trusts, though it cannot be served.
#[derive(Debug)]
pub(crate) enum KnownTrust {
    /// Nothing: the store did not say.
    Unknown,
    /// Nobody: the certificate is deleted, or the client trust cannot be built.
    Nobody,
    /// The newest version's trust could be built, though its certificate cannot be served.
    Scope { scope: TrustScope, verifier: Option<Arc<dyn ClientCertVerifier>> },
}

/// Whether live connections of another trust scope may stay.
#[derive(Debug)]
pub(crate) enum Trust<'a> {
    /// Those of this scope may, and in two-way those whose certificate passes the verifier, and in one-way all.
    Scope(TrustScope, Option<&'a Arc<dyn ClientCertVerifier>>),
    /// Nothing is known: no reason to ask them.
    Unknown,
    /// None may.
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

    /// Whether it is refused because the store did not answer.
    pub(crate) fn is_for_the_store(&self) -> bool {
        matches!(self, Self::Refused(Refused { refusal: Refusal::Unavailable(_), .. }))
    }

    /// Whether what is stored cannot be served.
    pub(crate) fn is_unservable(&self) -> bool {
        matches!(self, Self::Refused(Refused { refusal: Refusal::Unservable(_), .. }))
    }

    /// Whether it still holds without asking the store again. `epoch`: of the node's membership.
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
    /// The reason, where there is more to say than the kind.
    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Unservable(reason) | Self::Unavailable(reason) => Some(reason),
            Self::Gone | Self::NoCertificate => None,
        }
    }

    fn ask_again_after(&self) -> Duration {
        match self {
            // The feed tells of every change within a second; this is only for a deployment that never was in it.
            Self::Gone | Self::NoCertificate => Duration::from_secs(30),
            Self::Unservable(_) => Duration::from_secs(10),
            Self::Unavailable(_) => Duration::from_secs(1),
        }
    }
}
