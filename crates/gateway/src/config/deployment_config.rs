use std::{sync::Arc, time::Duration};

use certward_store::{Deployment, DeploymentRef, DeploymentSpec, Generation, TrustScope, VersionId};
use tokio::time::Instant;

use crate::{
    config::{
        client_check::ClientCheck, deployment_revocations::DeploymentRevocations, tls_config::Identity,
    },
    sync::membership::Epoch,
};

/// How this node handles a deployment's connections: immutable, replaced as a whole.
#[derive(Debug)]
pub(crate) enum DeploymentConfig {
    Served(Served),
    Refused(Refused),
}

#[derive(Debug)]
pub(crate) struct Served {
    /// The deployment's generation that this value was built for.
    pub(crate) generation: Generation,
    /// Live sessions hold it.
    pub(crate) reference: Arc<DeploymentRef>,
    /// Without secrets: relays hold it.
    pub(crate) spec: Arc<DeploymentSpec>,
    pub(crate) identity: Arc<Identity>,
    /// Set if the previous version is served.
    pub(crate) fallback: Option<Fallback>,
}

#[derive(Debug, Clone)]
pub(crate) struct Fallback {
    /// The version that cannot be served.
    pub(crate) newest: VersionId,
    /// One plain sentence.
    pub(crate) reason: String,
    /// Valid in this membership epoch only.
    pub(crate) allowed_in: Epoch,
}

#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    /// For live connections.
    pub(crate) trust: KnownTrust,
    /// From then on a handshake reads the store again, in case the feed has no row.
    pub(crate) ask_again_at: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    Gone,
    NoCertificate,
    Unservable(String),
    Unavailable(String),
}

/// The trust of a refused deployment.
#[derive(Debug)]
pub(crate) enum KnownTrust {
    /// The store did not answer.
    Unknown,
    /// No device is trusted: the certificate is deleted, or the client trust is invalid.
    NoClient,
    /// The client trust could be built, the bundle could not.
    Scope { scope: TrustScope, verifier: Option<Arc<ClientCheck>> },
}

/// Which live connections may stay.
#[derive(Debug)]
pub(crate) enum Trust<'a> {
    /// Those of this scope; in two-way also those the verifier accepts; in one-way all.
    Scope(TrustScope, Option<&'a Arc<ClientCheck>>),
    Unknown,
    NoClient,
}

impl DeploymentConfig {
    pub(crate) fn trust(&self) -> Trust<'_> {
        match self {
            Self::Served(served) => {
                Trust::Scope(served.identity.trust_scope, served.identity.verifier.as_ref())
            }
            Self::Refused(refused) => match &refused.trust {
                KnownTrust::Unknown => Trust::Unknown,
                KnownTrust::NoClient => Trust::NoClient,
                KnownTrust::Scope { scope, verifier } => Trust::Scope(*scope, verifier.as_ref()),
            },
        }
    }

    /// As of its reading, if it verifies clients.
    pub(crate) fn revocations(&self) -> Option<&Arc<DeploymentRevocations>> {
        match self.trust() {
            Trust::Scope(_, Some(verifier)) => verifier.revocations(),
            Trust::Scope(_, None) | Trust::Unknown | Trust::NoClient => None,
        }
    }

    pub(crate) fn is_store_unavailable(&self) -> bool {
        matches!(self, Self::Refused(Refused { refusal: Refusal::Unavailable(_), .. }))
    }

    pub(crate) fn is_unservable(&self) -> bool {
        matches!(self, Self::Refused(Refused { refusal: Refusal::Unservable(_), .. }))
    }

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
            reference: Arc::new(deployment.reference()),
            spec: Arc::new(deployment.spec.clone()),
            identity,
            fallback,
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
    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Unservable(reason) | Self::Unavailable(reason) => Some(reason),
            Self::Gone | Self::NoCertificate => None,
        }
    }

    fn ask_again_after(&self) -> Duration {
        match self {
            // For a deployment without a feed row; the feed reports other changes within a second.
            Self::Gone | Self::NoCertificate => Duration::from_secs(30),
            Self::Unservable(_) => Duration::from_secs(10),
            Self::Unavailable(_) => Duration::from_secs(1),
        }
    }
}
