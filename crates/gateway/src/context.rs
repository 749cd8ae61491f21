use std::{net::SocketAddr, sync::Arc};

use certward_pki::HostName;
use certward_store::{Clock, DeploymentId, Store, StoreError};
use rustls::{Error, server::danger::ClientCertVerifier};
use tokio::time::Instant;

use crate::{
    Deadlines, Listener,
    config::{
        client_check::{ClientCheck, TrustStamp},
        deployment_config::{DeploymentConfig, Served, Trust},
        loader::{LoadStamp, Loader},
        read_gate::Gate,
        tls_config::TlsConfigFactory,
    },
    devices::register::DeviceRegister,
    io::{fair_share::FairShare, tls::Tls},
    observe::{
        cause::Cause,
        failures::{Failures, Seen},
        lost_devices::LostDevices,
        metrics::Metrics,
        reason::ClosedReason,
        refusals::Refusals,
    },
    proof::probes::Probes,
    routing::{
        boundaries::BoundaryIndex,
        host_index::HostIndex,
        index_warmup::{IndexWarmup, NameLookup},
    },
    session::{
        client_ends::ClientEnds,
        handshake_queue::HandshakeQueues,
        paced_closes::PacedCloses,
        registry::{Registration, Registry},
        relay::RelayLimits,
        session_ages::SessionAges,
        stale_crls::StaleCrls,
    },
    upstream::{Upstreams, broker_health::BrokerHealth},
};

#[derive(Debug)]
pub(crate) struct NodeContext {
    pub(crate) default: Option<DeploymentId>,
    pub(crate) deadlines: Deadlines,
    pub(crate) relay_limits: Arc<RelayLimits>,
    pub(crate) upstreams: Upstreams,
    pub(crate) fair_share: FairShare,
    pub(crate) handshake_queues: HandshakeQueues,
    pub(crate) index: Arc<HostIndex>,
    pub(crate) boundaries: BoundaryIndex,
    pub(crate) warmup: Arc<IndexWarmup>,
    pub(crate) store: Store,
    pub(crate) gate: Arc<Gate>,
    pub(crate) loader: Loader,
    pub(crate) tls_configs: Arc<TlsConfigFactory>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) paced_closes: PacedCloses,
    pub(crate) session_ages: SessionAges,
    pub(crate) client_ends: ClientEnds,
    pub(crate) stale_crls: StaleCrls,
    pub(crate) devices: Arc<DeviceRegister>,
    pub(crate) failures: Arc<Failures>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) probes: Arc<Probes>,
    pub(crate) refusals: Refusals,
    pub(crate) lost_devices: LostDevices,
    pub(crate) broker_health: BrokerHealth,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) began: Instant,
}

#[derive(Debug)]
pub(crate) struct RoutedDeployment {
    pub(crate) deployment: DeploymentId,
    pub(crate) entry: Arc<DeploymentConfig>,
    stamp: LoadStamp,
}

#[derive(Debug)]
pub(crate) enum Route {
    To(RoutedDeployment),
    Nowhere,
    /// The index is incomplete and the store does not answer.
    Unknown,
}

impl NodeContext {
    /// Routes by the listener's deployment; else by name, exact before wildcard; else to the
    /// default, unless another project has the name.
    pub(crate) async fn route(&self, listener: &Listener, name: Option<HostName>) -> Route {
        if let Some(bound) = &listener.deployment {
            return Route::To(self.look_up(bound.clone()).await);
        }
        if let Some(name) = &name {
            match self.by_name(name.clone()).await {
                Route::Nowhere => {}
                route => return route,
            }
        }
        let Some(default) = self.default.clone() else { return Route::Nowhere };
        let destination = self.look_up(default).await;
        match (&name, &*destination.entry) {
            (Some(name), DeploymentConfig::Served(served))
                if self.boundaries.belongs_to_another(name, &served.reference.project) =>
            {
                Route::Nowhere
            }
            _ => Route::To(destination),
        }
    }

    async fn look_up(&self, deployment: DeploymentId) -> RoutedDeployment {
        let stamp = self.loader.stamp(&deployment);
        let entry = self.loader.get(&deployment).await;
        RoutedDeployment { deployment, entry, stamp }
    }

    /// Exact host, then wildcard. During warm-up only the store may know the name.
    async fn by_name(&self, name: HostName) -> Route {
        if let Some(route) = self.by_index(&name).await {
            return route;
        }
        let wildcard = name.covering_wildcard();
        if !self.warmup.is_over() && !self.index_decides() {
            if let Some(route) = self.by_records(&name, wildcard.as_ref()).await {
                return route;
            }
            // It may be indexed since.
            if let Some(route) = self.by_index(&name).await {
                return route;
            }
        }
        let Some(wildcard) = wildcard else { return Route::Nowhere };
        self.by_index(&wildcard).await.unwrap_or(Route::Nowhere)
    }

    /// Whether the index decides: the store is silent, all known is indexed, and no change is
    /// pending.
    fn index_decides(&self) -> bool {
        self.gate.is_silent() && self.index.is_listed() && self.gate.len() == 0
    }

    async fn by_index(&self, host: &HostName) -> Option<Route> {
        let id = self.index.find(host)?;
        self.to(host, id).await
    }

    /// Asks the replica, for a wildcard only while the store is silent; else the store. `None`: the
    /// index is complete.
    async fn by_records(&self, name: &HostName, wildcard: Option<&HostName>) -> Option<Route> {
        let names: Vec<_> = [Some(name), wildcard].into_iter().flatten().cloned().collect();
        let known = self.loader.first_known(&names).await;
        if let Some((host, id)) = known.filter(|(host, _)| host == name || self.gate.is_silent())
            && let Some(route) = self.to(&host, id).await
        {
            return Some(route);
        }
        match self.warmup.ask(name, || self.first_of(&names)).await {
            NameLookup::Found(host, id) => Some(self.to(&host, id).await.unwrap_or(Route::Unknown)),
            NameLookup::Unclaimed => Some(Route::Nowhere),
            NameLookup::Unknown => Some(Route::Unknown),
            NameLookup::Indexed => None,
        }
    }

    /// Asks the replica while the store is unavailable. A name it lacks may be newer: an error.
    async fn first_of(&self, names: &[HostName]) -> Result<Option<(HostName, DeploymentId)>, StoreError> {
        match self.store.read().first_of(names).await {
            Err(error @ StoreError::Unavailable(_)) => {
                self.loader.first_known(names).await.map(Some).ok_or(error)
            }
            answer => answer,
        }
    }

    /// `None`: not a host of it. Index hashes may collide and answers age; this check decides.
    async fn to(&self, host: &HostName, id: DeploymentId) -> Option<Route> {
        let destination = self.look_up(id).await;
        match &*destination.entry {
            DeploymentConfig::Served(served) if !served.spec.hosts.contains(host) => None,
            _ => Some(Route::To(destination)),
        }
    }

    /// Whether a registered connection may stay. Usually nothing changed since its handshake began.
    pub(crate) async fn may_enter(
        &self,
        member: &Registration,
        tls: &Tls,
        began: &RoutedDeployment,
    ) -> Result<(), ClosedReason> {
        match self.loader.is_unchanged(&began.deployment, began.stamp) {
            true => Ok(()),
            false => self.may_stay(member, tls).await,
        }
    }

    /// Whether it may stay under current trust; `Err`: why it must end. Not called because the
    /// store is unavailable.
    pub(crate) async fn may_stay(&self, member: &Registration, tls: &Tls) -> Result<(), ClosedReason> {
        let entry = self.loader.get(member.deployment()).await;
        if let DeploymentConfig::Served(served) = &*entry
            && member.is_of_another(&served.reference)
        {
            return Err(ClosedReason::Untrusted);
        }
        match entry.trust() {
            Trust::NoClient => return Err(ClosedReason::Deleted),
            // Trust changed, so unknown trust is refused.
            Trust::Unknown => return Err(ClosedReason::Untrusted),
            Trust::Scope(scope, Some(check)) => {
                if scope != member.scope() {
                    self.verify_client(check, tls).map_err(|refusal| ClosedReason::of_refusal(&refusal))?;
                } else if let Some(objection) = self.objection(check, tls)
                    // A certificate that ends is no reason: see `has_ended`.
                    && self.verify_client(check, tls).is_err()
                {
                    return Err(ClosedReason::of_refusal(&objection));
                }
                // The broker may know it by a name of an earlier identity.
                if check.revocations().is_some_and(|revocations| member.handle().is_denied(revocations.get()))
                {
                    return Err(ClosedReason::Revoked);
                }
                member.move_to(TrustStamp::new(scope, Some(check)));
            }
            Trust::Scope(scope, None) => member.move_to(TrustStamp::new(scope, None)),
        }
        Ok(())
    }

    /// Of a session whose certificate has ended: whether its deployment verifies clients.
    pub(crate) async fn has_ended(&self, member: &Registration, tls: &Tls) -> bool {
        match self.loader.get(member.deployment()).await.trust() {
            Trust::Scope(_, Some(verifier)) => self.verify_client(verifier, tls).is_err(),
            Trust::Scope(_, None) | Trust::NoClient | Trust::Unknown => false,
        }
    }

    /// What ends a session in time: its age, the end of its certificate, and of CRLs.
    pub(crate) fn note_bounds(&self, member: &Registration, Served { spec, identity, .. }: &Served) {
        self.session_ages.note(member.deployment(), spec.max_session_age, self.began.elapsed());
        let revocations = identity.verifier.as_ref().and_then(|check| check.revocations());
        self.stale_crls.note(member.deployment(), revocations.map(Arc::as_ref), self.clock.now());
        let not_after = member.handle().client.as_ref().map(|client| client.not_after);
        self.client_ends.note(member.deployment(), not_after);
    }

    /// Call it every second.
    pub(crate) async fn end_in_time(&self) {
        self.session_ages.end_due(&self.registry, self.began.elapsed()).await;
        self.client_ends.verify_ended(&self.registry, self.clock.now()).await;
        self.stale_crls.verify_stale(&self.registry, self.clock.now()).await;
    }

    /// See [`ClientCheck::objection`].
    fn objection(&self, check: &ClientCheck, tls: &Tls) -> Option<Error> {
        let [leaf, intermediates @ ..] = tls.peer_certificates()? else { return None };
        check.objection(leaf, intermediates, self.tls_configs.now()?)
    }

    /// rustls does not verify on resumption, and trust may have changed.
    pub(crate) fn verify_client(&self, check: &ClientCheck, tls: &Tls) -> Result<(), Error> {
        let Some([leaf, intermediates @ ..]) = tls.peer_certificates() else {
            return Err(Error::NoCertificatesPresented);
        };
        let now = self.tls_configs.now().ok_or(Error::FailedToGetCurrentTime)?;
        check.verify_client_cert(leaf, intermediates, now).map(|_| ())
    }

    /// Rounded down: a connection keeps it in four bytes.
    pub(crate) fn uptime_seconds(&self) -> u32 {
        u32::try_from(self.began.elapsed().as_secs()).unwrap_or(u32::MAX)
    }

    pub(crate) fn handshake_failed(&self, seen: &Seen, peer: SocketAddr, cause: Cause) {
        self.metrics.handshake_failed(cause);
        let id = seen.deployment.as_ref();
        if let Some(id) = id {
            self.failures.note(id, self.clock.now(), peer, cause, seen);
        }
        self.refusals.note(seen, peer, cause, Instant::now());
        tracing::debug!(
            %peer, deployment.id = id.map(tracing::field::display), server_name = seen.server_name.as_deref(),
            "handshake failed: {}", cause.as_str()
        );
    }
}
