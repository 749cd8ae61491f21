//! A bounded cache of deployment configurations, built from the store or the replica.
//!
//! Where to read ([`Gate`]): the replica if it has what the feed announced; else the store, within
//! a deadline; else refuse this deployment. What to serve, after a swap, an eviction or a restart:
//! the newest version; else the fallback, never wider in trust; else nothing.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use certward_lifecycle::{
    AssignedCertificate, Lifecycle, MaterialError, Observation, assignment_in, material_in,
};
use certward_pki::{ClientTrust, HostName};
use certward_store::{
    Deployment, DeploymentId, FeedPosition, Reader, Reading, StoreError, TlsState, Version,
};
use parking_lot::{Mutex as StdMutex, MutexGuard};
use quick_cache::sync::Cache;
use tokio::{sync::Mutex, time::timeout};

use crate::{
    config::{
        deployment_config::{DeploymentConfig, Fallback, KnownTrust, Refusal, Refused, Served},
        deployment_revocations::{CrlReads, DeploymentRevocations},
        read_gate::{Gate, Moment},
        tls_config::{Identity, TlsConfigFactory},
        trust_age::TrustAge,
    },
    observe::metrics::Metrics,
    routing::host_index::HostIndex,
    sync::{
        history::{Held, History, HistoryVerdict},
        membership::Membership,
        replicator::Replicator,
    },
};

/// A slot's deployments queue for its lock on a cache miss, for a few milliseconds.
const SLOTS: usize = 256;
/// Includes queueing; half of the handshake timeout.
const STORE_READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Reads overtaken by a change, in a row, before the store is read.
const REPLICA_READS_MAX: u32 = 3;

#[derive(Debug)]
pub(crate) struct Loader {
    lifecycle: Lifecycle,
    membership: Arc<Membership>,
    history: Arc<History>,
    gate: Arc<Gate>,
    trust_age: Arc<TrustAge>,
    replicator: Option<Arc<Replicator>>,
    tls_configs: Arc<TlsConfigFactory>,
    index: Arc<HostIndex>,
    metrics: Arc<Metrics>,
    cache: Cache<DeploymentId, Cached>,
    slots: Box<[LoadSlot]>,
    slot_of: RandomState,
    crl_reads: CrlReads,
}

#[derive(Debug)]
pub(crate) struct LoaderSources {
    pub(crate) membership: Arc<Membership>,
    pub(crate) history: Arc<History>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) trust_age: Arc<TrustAge>,
    pub(crate) replicator: Option<Arc<Replicator>>,
}

#[derive(Debug)]
pub(crate) struct ReadAhead {
    id: DeploymentId,
    loaded: LoadedDeployment,
    /// The slot's writes before the read.
    writes: u64,
}

/// Cache writes by slot.
#[derive(Debug)]
pub(crate) struct Writes(Box<[u64]>);

#[derive(Debug, Clone)]
struct Cached {
    entry: Arc<DeploymentConfig>,
    /// Later announcements are not included.
    read_at: Moment,
}

#[derive(Debug, Default)]
struct LoadSlot {
    store: Mutex<()>,
    /// Separate, so that replica reads do not wait for the store.
    replica: Mutex<()>,
    counts: StdMutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    changes: u64,
    writes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoadStamp(u64);

#[derive(Debug)]
pub(crate) struct LoadedDeployment {
    pub(crate) assignment: Option<(Deployment, Option<AssignedCertificate>)>,
    pub(crate) entry: Arc<DeploymentConfig>,
    /// The newest feed row at the read.
    pub(crate) as_of: FeedPosition,
}

struct Built {
    entry: DeploymentConfig,
    /// Served instead of an unservable newest version, with the store's permission.
    fallback: Option<(Arc<Identity>, String)>,
}

impl From<DeploymentConfig> for Built {
    fn from(entry: DeploymentConfig) -> Self {
        Self { entry, fallback: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoadPurpose {
    Device,
    Change,
}

/// Reads in a row that may fail the history check.
const READS_MAX: u32 = 8;

impl Loader {
    pub(crate) fn new(
        lifecycle: Lifecycle,
        LoaderSources { membership, history, gate, trust_age, replicator }: LoaderSources,
        tls_configs: Arc<TlsConfigFactory>,
        index: Arc<HostIndex>,
        metrics: Arc<Metrics>,
        capacity: usize,
    ) -> Self {
        // The cache always admits new values; entries of devices outlive those of proofs.
        let cache = Cache::new(capacity.max(1));
        let slots = (0..SLOTS).map(|_| LoadSlot::default()).collect();
        Self {
            lifecycle,
            membership,
            history,
            gate,
            trust_age,
            replicator,
            tls_configs,
            index,
            metrics,
            cache,
            slots,
            slot_of: RandomState::new(),
            crl_reads: CrlReads::default(),
        }
    }

    /// Concurrent handshakes share one load.
    pub(crate) async fn get(&self, id: &DeploymentId) -> Arc<DeploymentConfig> {
        let entry = match self.at_hand(id) {
            Some(entry) => Some(entry),
            None => self.read_locally(id).await,
        };
        match entry {
            Some(entry) => self.refuse_if_too_old(entry),
            None => self.refuse_if_too_old(self.read_remotely(id).await),
        }
    }

    /// Two-way only. Live connections are still checked by the old trust.
    fn refuse_if_too_old(&self, entry: Arc<DeploymentConfig>) -> Arc<DeploymentConfig> {
        let DeploymentConfig::Served(served) = &*entry else { return entry };
        let (Some(verifier), true) = (&served.identity.verifier, self.trust_age.is_over()) else {
            return entry;
        };
        let (scope, verifier) = (served.identity.trust_scope, Some(Arc::clone(verifier)));
        let refusal =
            Refusal::Unavailable("changes were not read for longer than gateway.stale_trust".to_owned());
        Arc::new(DeploymentConfig::Refused(Refused::new(refusal, KnownTrust::Scope { scope, verifier })))
    }

    /// `None`: no replica, or it lacks an announced change.
    async fn read_locally(&self, id: &DeploymentId) -> Option<Arc<DeploymentConfig>> {
        let replicator = self.replicator.as_ref()?;
        replicator.readable()?;
        let slot = self.slot(id);
        let _lock = slot.replica.lock().await;
        for _ in 0..REPLICA_READS_MAX {
            if let Some(entry) = self.at_hand(id) {
                return Some(entry);
            }
            let (writes, read_at) = (slot.counts().writes, self.gate.now());
            let entry = match self.read_replica(replicator, id).await {
                Ok(entry) => entry?,
                Err(error) => {
                    if matches!(error, StoreError::Corrupt(_)) {
                        replicator.mark_suspect();
                    }
                    tracing::debug!(deployment.id = %id, "this node's snapshot cannot be read: {error}");
                    return None;
                }
            };
            let mut counts = slot.counts();
            if counts.writes == writes {
                self.cache.insert(id.clone(), Cached { entry: Arc::clone(&entry), read_at });
                counts.writes += 1;
                return Some(entry);
            }
        }
        None
    }

    async fn read_replica(
        &self,
        replicator: &Replicator,
        id: &DeploymentId,
    ) -> Result<Option<Arc<DeploymentConfig>>, StoreError> {
        let Some(replica) = replicator.readable() else { return Ok(None) };
        let snapshot = replica.snapshot().await?;
        let assignment = assignment_in(&snapshot, id).await?;
        // A missing deployment may have been created since.
        let Some((deployment, _)) = &assignment else { return Ok(None) };
        if !self.gate.covers(id, deployment.generation) {
            return Ok(None);
        }
        let before = self.before(id);
        // A fallback needs the store's permission, so the store is read for it.
        let built = self.build(&snapshot, assignment.as_ref(), before.as_deref()).await?;
        let entry = Arc::new(built.entry);
        if entry.is_unservable() {
            replicator.mark_suspect();
        }
        Ok(Some(entry).filter(|entry| !entry.is_unservable()))
    }

    /// A timeout refuses the deployment for a moment.
    async fn read_remotely(&self, id: &DeploymentId) -> Arc<DeploymentConfig> {
        let read = async {
            let _lock = self.slot(id).store.lock().await;
            match self.at_hand(id) {
                Some(entry) => Ok(entry),
                None => self.load(id, LoadPurpose::Device).await.map(|loaded| loaded.entry),
            }
        };
        let late = |_| Err(StoreError::Unavailable("it does not answer in time".to_owned()));
        match timeout(STORE_READ_TIMEOUT, read).await.unwrap_or_else(late) {
            Ok(entry) => entry,
            Err(error) => self.refuse(id, &error),
        }
    }

    /// Handshakes in progress are routed again at their end.
    pub(crate) fn announced<'a>(&self, ids: impl IntoIterator<Item = &'a DeploymentId>) {
        for id in ids {
            self.slot(id).counts().changes += 1;
        }
    }

    pub(crate) fn announced_everything(&self) {
        self.slots.iter().for_each(|slot| slot.counts().changes += 1);
    }

    pub(crate) fn len(&self) -> usize {
        self.cache.len()
    }

    /// Must be called before the transaction begins.
    pub(crate) fn writes(&self) -> Writes {
        Writes(self.slots.iter().map(|slot| slot.counts().writes).collect())
    }

    /// Reads deployments in the transaction of their feed rows; does not serve them. Fails if one
    /// cannot be read.
    pub(crate) async fn read_ahead(
        &self,
        reading: &Reading,
        Writes(writes): &Writes,
        ids: impl IntoIterator<Item = DeploymentId>,
    ) -> Result<Vec<ReadAhead>, StoreError> {
        let mut read = Vec::new();
        for id in ids {
            let assignment = assignment_in(reading.read(), &id).await?;
            let before = self.before(&id);
            let revocations = before.as_deref().and_then(DeploymentConfig::revocations);
            if let Some((deployment, _)) = &assignment
                && DeploymentRevocations::has_unread_crls(reading.read(), deployment, revocations).await?
            {
                // It is announced without, so that no other deployment waits for it.
                continue;
            }
            // A fallback is served only when the change is carried out.
            let built = self.build(reading.read(), assignment.as_ref(), before.as_deref()).await?;
            let loaded =
                LoadedDeployment { assignment, entry: Arc::new(built.entry), as_of: reading.as_of() };
            let writes = writes[self.slot_number(&id)];
            read.push(ReadAhead { id, loaded, writes });
        }
        Ok(read)
    }

    /// Must follow the announcement at once. A deployment cached since the read is read again.
    pub(crate) fn swap_ahead(&self, read: Vec<ReadAhead>) {
        let read_at = self.gate.now();
        for ReadAhead { id, loaded, writes } in read {
            let mut counts = self.slot(&id).counts();
            if counts.writes == writes {
                self.put(&mut counts, &id, &loaded, read_at);
            }
        }
    }

    /// The owner of the first name that the replica knows.
    pub(crate) async fn first_known(&self, names: &[HostName]) -> Option<(HostName, DeploymentId)> {
        self.replicator.as_ref()?.readable()?.read().first_of(names).await.ok()?
    }

    /// Reads the store and swaps. Without an answer the cache stays, and announced deployments are
    /// refused; an unreadable deployment is refused.
    pub(crate) async fn refresh(&self, id: &DeploymentId) -> Result<LoadedDeployment, StoreError> {
        let slot = self.slot(id);
        let _lock = slot.store.lock().await;
        let read_at = self.gate.now();
        let loaded = self.load(id, LoadPurpose::Change).await;
        match &loaded {
            // Not requested by a device; the index lacks it too.
            Ok(LoadedDeployment { assignment: None, .. }) => drop(self.cache.remove(id)),
            Ok(_) | Err(StoreError::Unavailable(_)) => {}
            Err(error) => {
                self.refuse(id, error);
                self.gate.was_unreadable(id, read_at);
            }
        }
        // After the swap, and before the registry closes connections: see `is_unchanged`.
        slot.counts().changes += 1;
        loaded
    }

    /// Must be called before [`Loader::get`].
    pub(crate) fn stamp(&self, id: &DeploymentId) -> LoadStamp {
        LoadStamp(self.slot(id).counts().changes)
    }

    /// Later changes reach connections through the registry.
    pub(crate) fn is_unchanged(&self, id: &DeploymentId, stamp: LoadStamp) -> bool {
        self.stamp(id) == stamp
    }

    /// Live connections stay: nothing is known against them.
    fn refuse(&self, id: &DeploymentId, error: &StoreError) -> Arc<DeploymentConfig> {
        let (refusal, is_certain) = match error {
            StoreError::Unavailable(reason) => (Refusal::Unavailable(reason.clone()), false),
            error => (Refusal::Unservable(error.to_string()), true),
        };
        let mut counts = self.slot(id).counts();
        // The store was late; another read may have succeeded since.
        if let Some(entry) = self.at_hand(id).filter(|_| !is_certain) {
            return entry;
        }
        let entry = Arc::new(DeploymentConfig::Refused(Refused::new(refusal, KnownTrust::Unknown)));
        let read_at = self.gate.now();
        self.cache.insert(id.clone(), Cached { entry: Arc::clone(&entry), read_at });
        counts.writes += 1;
        entry
    }

    fn at_hand(&self, id: &DeploymentId) -> Option<Arc<DeploymentConfig>> {
        let Cached { entry, read_at } = self.cache.get(id)?;
        (entry.is_fresh(self.membership.epoch()) && self.gate.is_current(id, read_at)).then_some(entry)
    }

    fn before(&self, id: &DeploymentId) -> Option<Arc<DeploymentConfig>> {
        self.cache.peek(id).map(|cached| cached.entry)
    }

    fn slot(&self, id: &DeploymentId) -> &LoadSlot {
        &self.slots[self.slot_number(id)]
    }

    fn slot_number(&self, id: &DeploymentId) -> usize {
        self.slot_of.hash_one(id) as usize % self.slots.len()
    }

    /// Must be called under the slot's lock.
    async fn load(&self, id: &DeploymentId, purpose: LoadPurpose) -> Result<LoadedDeployment, StoreError> {
        let read_at = self.gate.now();
        let reading = self.read(purpose).await?;
        let as_of = reading.as_of();
        let assignment = assignment_in(reading.read(), id).await?;
        let before = self.before(id);
        let built = self.build(reading.read(), assignment.as_ref(), before.as_deref()).await?;
        // The withdrawal must not wait for this reading's connection.
        drop(reading);
        let entry = match (&assignment, built.fallback) {
            (Some((deployment, Some(certificate))), Some((identity, reason))) => {
                let observation = Observation { id, generation: deployment.generation, as_of };
                let fallback =
                    self.may_fall_back(&observation, deployment, certificate, reason, before.as_deref());
                match fallback.await {
                    Some(fallback) => {
                        DeploymentConfig::Served(Served::new(deployment, identity, Some(fallback)))
                    }
                    None => built.entry,
                }
            }
            _ => built.entry,
        };
        let loaded = LoadedDeployment { assignment, entry: Arc::new(entry), as_of };
        self.put(&mut self.slot(id).counts(), id, &loaded, read_at);
        Ok(loaded)
    }

    /// Serves what was read, unless a later read is served.
    fn put(&self, counts: &mut Counts, id: &DeploymentId, loaded: &LoadedDeployment, read_at: Moment) {
        let is_newer = |there: Cached| there.read_at > read_at && !there.entry.is_store_unavailable();
        if self.cache.peek(id).is_some_and(is_newer) {
            return;
        }
        match &loaded.assignment {
            Some((deployment, _)) => self.index.set(id, &deployment.spec.hosts),
            None => self.index.remove(id),
        }
        let found = loaded.assignment.as_ref().map(|(deployment, _)| deployment.generation);
        self.gate.was_read(id, read_at, found);
        self.cache.insert(id.clone(), Cached { entry: Arc::clone(&loaded.entry), read_at });
        counts.writes += 1;
    }

    /// A snapshot that continues this node's history.
    async fn read(&self, purpose: LoadPurpose) -> Result<Reading, StoreError> {
        let store = self.lifecycle.store();
        for _ in 0..READS_MAX {
            let held = self.history.held();
            let reading = match purpose {
                LoadPurpose::Device => store.reading(held.position).await?,
                LoadPurpose::Change => store.reading_as_member(held.position).await?,
            };
            match self.judge(held, &reading).await? {
                HistoryVerdict::Use => return Ok(reading),
                HistoryVerdict::ReadAgain => {}
                HistoryVerdict::Lost => break,
            }
        }
        Err(another_history())
    }

    /// Other loads may have advanced the history; the same transaction is checked against it.
    async fn judge(&self, mut held: Held, reading: &Reading) -> Result<HistoryVerdict, StoreError> {
        let mut continues = reading.continues();
        for _ in 0..READS_MAX {
            match self.history.judge(held, reading.as_of(), continues) {
                HistoryVerdict::ReadAgain => {}
                verdict => return Ok(verdict),
            }
            held = self.history.held();
            if held.position.generation > reading.as_of().generation {
                break;
            }
            continues = reading.continues_from(held.position).await?;
        }
        Ok(HistoryVerdict::ReadAgain)
    }

    async fn may_fall_back(
        &self,
        observation: &Observation<'_>,
        deployment: &Deployment,
        certificate: &AssignedCertificate,
        reason: String,
        before: Option<&DeploymentConfig>,
    ) -> Option<Fallback> {
        let newest = certificate.newest.version;
        let epoch = self.membership.epoch();
        let is_running = matches!(deployment.tls, TlsState::Running { .. });
        let allowed = match before {
            Some(DeploymentConfig::Served(Served { fallback: Some(fallback), .. })) => {
                fallback.newest == newest && fallback.allowed_in == epoch && !is_running
            }
            _ => false,
        };
        let allowed_in = if allowed {
            epoch
        } else {
            match self.membership.withdraw(observation, &reason).await {
                Ok(allowed) => allowed?,
                Err(error) => {
                    let id = observation.id;
                    tracing::debug!(deployment.id = %id, "the previous version is not served yet: {error}");
                    return None;
                }
            }
        };
        Some(Fallback { newest, reason, allowed_in })
    }

    /// An unservable version is refused; one that cannot be read now is an error.
    async fn build(
        &self,
        reader: &Reader,
        assignment: Option<&(Deployment, Option<AssignedCertificate>)>,
        before: Option<&DeploymentConfig>,
    ) -> Result<Built, StoreError> {
        let refused = |refusal, trust| DeploymentConfig::Refused(Refused::new(refusal, trust));
        let Some((deployment, certificate)) = assignment else {
            return Ok(refused(Refusal::Gone, KnownTrust::NoClient).into());
        };
        let Some(AssignedCertificate { newest, fallback }) = certificate else {
            return Ok(refused(Refusal::NoCertificate, KnownTrust::NoClient).into());
        };
        let verifies_clients =
            |version: Option<&Version>| version.is_some_and(|version| !version.client_cas.is_empty());
        // Whichever version is served: the newest revocations.
        let revocations = match verifies_clients(Some(newest)) || verifies_clients(fallback.as_ref()) {
            true => {
                let before = before.and_then(DeploymentConfig::revocations);
                DeploymentRevocations::read(reader, deployment, before, &self.crl_reads).await?
            }
            false => None,
        };
        let reason = match self.identity(reader, newest, revocations.as_ref(), before).await? {
            Ok(identity) => {
                return Ok(DeploymentConfig::Served(Served::new(deployment, identity, None)).into());
            }
            Err(reason) => reason,
        };
        let fallback = match fallback {
            Some(fallback) => self.identity(reader, fallback, revocations.as_ref(), before).await?.ok(),
            None => None,
        };
        let entry = refused(Refusal::Unservable(reason.clone()), self.trust_of(newest, revocations));
        Ok(Built { entry, fallback: fallback.map(|identity| (identity, reason)) })
    }

    /// The inner error is permanent, in one plain sentence.
    async fn identity(
        &self,
        reader: &Reader,
        version: &Version,
        revocations: Option<&Arc<DeploymentRevocations>>,
        before: Option<&DeploymentConfig>,
    ) -> Result<Result<Arc<Identity>, String>, StoreError> {
        let identity = match served_already(version, before) {
            Some(identity) => Arc::clone(identity),
            None => {
                let built = self.build_identity(reader, version).await;
                self.metrics.loaded(matches!(built, Ok(Ok(_))));
                match built? {
                    Ok(identity) => Arc::new(identity),
                    Err(reason) => return Ok(Err(reason)),
                }
            }
        };
        let identity = identity.with_revocations(revocations, &self.tls_configs);
        Ok(identity.map_err(|unservable| unservable.to_string()))
    }

    async fn build_identity(
        &self,
        reader: &Reader,
        version: &Version,
    ) -> Result<Result<Identity, String>, StoreError> {
        let material = match material_in(reader, version).await {
            Ok(material) => material,
            Err(MaterialError::Store(error @ StoreError::Unavailable(_))) => return Err(error),
            Err(error) => return Ok(Err(error.to_string())),
        };
        let identity = self.tls_configs.identity(&material, version.version, version.trust_scope);
        Ok(identity.map_err(|unservable| unservable.to_string()))
    }

    /// Live connections are still checked by it.
    fn trust_of(&self, version: &Version, revocations: Option<Arc<DeploymentRevocations>>) -> KnownTrust {
        let scope = version.trust_scope;
        if version.client_cas.is_empty() {
            return KnownTrust::Scope { scope, verifier: None };
        }
        let cas = version.client_cas.iter().map(|der| der.clone().into()).collect();
        let check = |trust: ClientTrust| self.tls_configs.client_check(&trust, scope, revocations);
        match ClientTrust::new(cas).and_then(check) {
            Ok(check) => KnownTrust::Scope { scope, verifier: Some(Arc::new(check)) },
            Err(_) => KnownTrust::NoClient,
        }
    }
}

impl LoadSlot {
    // No panic while the lock is held.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock()
    }
}

fn served_already<'a>(version: &Version, before: Option<&'a DeploymentConfig>) -> Option<&'a Arc<Identity>> {
    match before {
        Some(DeploymentConfig::Served(served)) if served.identity.version == version.version => {
            Some(&served.identity)
        }
        _ => None,
    }
}

fn another_history() -> StoreError {
    StoreError::Unavailable("its history is not the one that this node has read".to_owned())
}
