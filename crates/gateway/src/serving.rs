use std::{net::SocketAddr, sync::Arc};

use certward_pki::HostName;
use certward_store::{Clock, DeploymentId, Store, StoreError};
use rustls::{Error, server::danger::ClientCertVerifier};

use crate::{
    Deadlines, Listener,
    cause::Cause,
    failures::{Failures, Seen},
    filling::{Answer, Filling},
    host_index::HostIndex,
    identity::Workshop,
    lines::Lines,
    loader::{Loader, Stamp},
    metrics::Metrics,
    probes::Probes,
    rarely::RarelyEach,
    registry::{Membership, Registry},
    served::{Entry, Trust},
    tls::Tls,
    turns::Turns,
    upstream::Upstreams,
};

/// All that a connection needs of this node.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) default: Option<DeploymentId>,
    pub(crate) deadlines: Deadlines,
    pub(crate) upstreams: Upstreams,
    /// To carry much.
    pub(crate) turns: Turns,
    /// To compute a handshake.
    pub(crate) lines: Lines,
    pub(crate) index: Arc<HostIndex>,
    pub(crate) filling: Arc<Filling>,
    pub(crate) store: Store,
    pub(crate) loader: Loader,
    pub(crate) workshop: Arc<Workshop>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) failures: Arc<Failures>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) probes: Arc<Probes>,
    /// Deployments of which the log says that no broker can be reached by what they name.
    pub(crate) misdirected: RarelyEach<DeploymentId>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A deployment, and what was known of it.
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) deployment: DeploymentId,
    pub(crate) entry: Arc<Entry>,
    stamp: Stamp,
}

/// Whose a connection is.
#[derive(Debug)]
pub(crate) enum Route {
    /// A deployment's, and what is done with it.
    To(Destination),
    /// Nobody's.
    Nowhere,
    /// It cannot be told yet: the index of hosts is not full, and the store does not answer.
    Unknown,
}

impl Serving {
    /// Whose connection this is, and what to do with it: the listener's deployment; else by name, the exact host before the
    /// one-label wildcard; else the default.
    pub(crate) async fn route(&self, listener: &Listener, name: Option<HostName>) -> Route {
        if let Some(bound) = &listener.deployment {
            return Route::To(self.look_up(bound.clone()).await);
        }
        if let Some(name) = name {
            match self.by_name(name).await {
                Route::Nowhere => {}
                route => return route,
            }
        }
        let Some(default) = self.default.clone() else { return Route::Nowhere };
        Route::To(self.look_up(default).await)
    }

    async fn look_up(&self, deployment: DeploymentId) -> Destination {
        let stamp = self.loader.stamp(&deployment);
        let entry = self.loader.get(&deployment).await;
        Destination { deployment, entry, stamp }
    }

    async fn by_name(&self, name: HostName) -> Route {
        if !self.filling.is_over() && self.index.find(&name).is_none() {
            let names: Vec<_> =
                [Some(name.clone()), name.covering_wildcard()].into_iter().flatten().collect();
            match self.filling.ask(&name, || self.first_of(&names)).await {
                Answer::Indexed => {}
                Answer::Found(host, id) => return self.to(&host, id).await.unwrap_or(Route::Unknown),
                Answer::Nobodys => return Route::Nowhere,
                Answer::Unknown => return Route::Unknown,
            }
        }
        let wildcard = name.covering_wildcard();
        for host in [name].into_iter().chain(wildcard) {
            let Some(id) = self.index.find(&host) else { continue };
            if let Some(route) = self.to(&host, id).await {
                return route;
            }
        }
        Route::Nowhere
    }

    /// By the store, and by this node's snapshot while that is away. A name that only the snapshot does not know may be a newer
    /// deployment's: of that nothing is said.
    async fn first_of(&self, names: &[HostName]) -> Result<Option<(HostName, DeploymentId)>, StoreError> {
        match self.store.first_of(names).await {
            Err(error @ StoreError::Unavailable(_)) => {
                self.loader.first_known(names).await.map(Some).ok_or(error)
            }
            answer => answer,
        }
    }

    /// `None`: the host is not the deployment's. The index knows hashes, and what the store said may have changed; only here it shows.
    async fn to(&self, host: &HostName, id: DeploymentId) -> Option<Route> {
        let destination = self.look_up(id).await;
        match &*destination.entry {
            Entry::Served(served) if !served.hosts.contains(host) => None,
            _ => Some(Route::To(destination)),
        }
    }

    /// Whether a connection that is in the registry now may stay, whose handshake was made by what was known when it began. Mostly
    /// nothing has changed meanwhile, and whether that is still at hand does not matter.
    pub(crate) async fn may_enter(&self, member: &Membership, tls: &Tls, began: &Destination) -> bool {
        self.loader.is_as_it_was(&began.deployment, began.stamp) || self.may_stay(member, tls).await
    }

    /// Whether a connection may stay under what its deployment trusts now: asked whenever it is told that the trust changed. A store
    /// that is merely lost gives no reason to ask.
    pub(crate) async fn may_stay(&self, member: &Membership, tls: &Tls) -> bool {
        let entry = self.loader.get(member.deployment()).await;
        match entry.trust() {
            // Whoever asks has a reason to: something changed. What cannot be known then counts as refused.
            Trust::Unknown | Trust::Nobody => false,
            Trust::Scope(scope, _) if scope == member.scope() => true,
            Trust::Scope(scope, verifier) => {
                let trusted = verifier.is_none_or(|verifier| self.verify_client(verifier, tls).is_ok());
                if trusted {
                    member.move_to(scope);
                }
                trusted
            }
        }
    }

    /// Verifies the client's certificate outside a handshake: rustls does not when it resumes, and trust may have changed since.
    pub(crate) fn verify_client(
        &self,
        verifier: &Arc<dyn ClientCertVerifier>,
        tls: &Tls,
    ) -> Result<(), Error> {
        let Some([leaf, intermediates @ ..]) = tls.peer_certificates() else {
            return Err(Error::NoCertificatesPresented);
        };
        let now = self.workshop.now().ok_or(Error::FailedToGetCurrentTime)?;
        verifier.verify_client_cert(leaf, intermediates, now).map(|_| ())
    }

    /// Counts a failed handshake, and keeps it for the deployment's operator.
    pub(crate) fn handshake_failed(&self, seen: &Seen, peer: SocketAddr, cause: Cause) {
        self.metrics.handshake_failed(cause.as_str());
        let id = seen.deployment.as_ref();
        if let Some(id) = id {
            self.failures.note(id, self.clock.now(), peer, cause, seen);
        }
        tracing::debug!(
            %peer, deployment.id = id.map(tracing::field::display), server_name = seen.server_name.as_deref(),
            "handshake failed: {}", cause.as_str()
        );
    }
}
