//! What this node does with a deployment's connections, built from what the store says, and kept in a bounded cache.
//!
//! The rule is the same at a swap, after an eviction and after a restart: the newest version; else the one that the
//! assignment offers to fall back to, which is never wider in trust than the newest; else nothing. All loads of one deployment come one
//! after the other and each reads the store anew, so an older value never replaces a newer one.
//!
//! While the store is away, or slow, a deployment that is not in the cache is looked up in this node's snapshot, by the same rule: here
//! and nowhere else, and never for what the store has said something newer of.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex as StdMutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use certward_lifecycle::{Certificate, Lifecycle, MaterialError, Observation, assignment_in, material_in};
use certward_pki::{ClientTrust, HostName};
use certward_store::{
    Deployment, DeploymentId, FeedPosition, Reading, Records, StoreError, TlsState, Version,
};
use quick_cache::sync::Cache;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use crate::{
    copier::Copier,
    history::{Held, History, Verdict},
    host_index::HostIndex,
    identity::{Identity, Workshop},
    membership::Membership,
    metrics::Metrics,
    served::{Entry, Fallback, KnownTrust, Refusal, Refused, Served},
};

/// Deployments that share a slot wait for each other's load, a few milliseconds, and only when neither is in the cache.
const SLOTS: usize = 256;

/// How long a device waits for the store where this node's snapshot may have the answer, too.
const PATIENCE: Duration = Duration::from_secs(1);
/// For how long nobody waits again once somebody has waited in vain: a store that is slow is not asked for every device that comes.
const IMPATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Loader {
    lifecycle: Lifecycle,
    membership: Arc<Membership>,
    history: Arc<History>,
    copier: Option<Arc<Copier>>,
    workshop: Arc<Workshop>,
    index: Arc<HostIndex>,
    metrics: Arc<Metrics>,
    cache: Cache<DeploymentId, Arc<Entry>>,
    slots: Box<[Slot]>,
    slot_of: RandomState,
    /// When the store did not answer in time, last.
    slow: StdMutex<Option<Instant>>,
}

/// What deployments share whose ids come to the same.
#[derive(Debug, Default)]
struct Slot {
    lock: Mutex<()>,
    /// Changes that were carried out so far.
    changes: AtomicU64,
}

/// How much had changed when a deployment was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

/// What is true of a deployment, and what this node does with its connections now.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) assignment: Option<(Deployment, Option<Certificate>)>,
    pub(crate) entry: Arc<Entry>,
    /// The newest row of the feed when it was read.
    pub(crate) as_of: FeedPosition,
}

/// What is built of a deployment.
struct Built {
    entry: Entry,
    /// Instead of the newest version, which cannot be served for good: to be served when the node may.
    fallback: Option<(Arc<Identity>, String)>,
}

impl From<Entry> for Built {
    fn from(entry: Entry) -> Self {
        Self { entry, fallback: None }
    }
}

/// Who loads: a device, or the node that carries a change out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Device,
    Change,
}

/// Reads whose history could not be told, one after the other, before a load is given up for now.
const READS_MAX: u32 = 8;

impl Loader {
    pub(crate) fn new(
        lifecycle: Lifecycle,
        membership: Arc<Membership>,
        history: Arc<History>,
        copier: Option<Arc<Copier>>,
        workshop: Arc<Workshop>,
        index: Arc<HostIndex>,
        metrics: Arc<Metrics>,
        capacity: usize,
    ) -> Self {
        // What was just built is always let in, and what devices come back to outlasts what was only proven.
        let cache = Cache::new(capacity.max(1));
        let slots = (0..SLOTS).map(|_| Slot::default()).collect();
        Self {
            lifecycle,
            membership,
            history,
            copier,
            workshop,
            index,
            metrics,
            cache,
            slots,
            slot_of: RandomState::new(),
            slow: StdMutex::default(),
        }
    }

    /// What to do with a connection of the deployment; built now if it is not at hand. Handshakes that want the same one at once
    /// share one load.
    pub(crate) async fn get(&self, id: &DeploymentId) -> Arc<Entry> {
        if let Some(entry) = self.at_hand(id) {
            return entry;
        }
        let _lock = self.slot(id).lock.lock().await;
        if let Some(entry) = self.at_hand(id) {
            return entry;
        }
        if (self.is_away() || self.is_slow())
            && let Some(entry) = self.recall(id).await
        {
            return entry;
        }
        let loaded = match self.in_time(self.load(id, For::Device)).await {
            Some(loaded) => loaded,
            None => match self.recall(id).await {
                Some(entry) => return entry,
                None => self.load(id, For::Device).await,
            },
        };
        let is_away = match &loaded {
            Ok(loaded) => loaded.entry.is_for_the_store(),
            Err(error) => matches!(error, StoreError::Unavailable(_)),
        };
        if is_away {
            if let Some(copier) = &self.copier {
                copier.set_away(true);
            }
            if let Some(entry) = self.recall(id).await {
                return entry;
            }
        }
        match loaded {
            Ok(loaded) => loaded.entry,
            Err(error) => self.refuse(id, &error),
        }
    }

    /// What the store answers. `None`: not as soon as this node's snapshot might, which may be caught up only meanwhile.
    async fn in_time<T>(&self, asked: impl Future<Output = T>) -> Option<T> {
        let Some(copier) = &self.copier else { return Some(asked.await) };
        let late = async {
            sleep(PATIENCE).await;
            copier.until_caught_up().await;
        };
        tokio::select! {
            biased;
            answer = asked => Some(answer),
            () = late => {
                *self.slow() = Some(Instant::now());
                None
            }
        }
    }

    fn is_away(&self) -> bool {
        self.copier.as_ref().is_some_and(|copier| copier.is_away())
    }

    /// Whether the store answers later than a device should wait.
    fn is_slow(&self) -> bool {
        self.slow().is_some_and(|last| last.elapsed() < IMPATIENCE)
    }

    fn slow(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many deployments are at hand.
    pub(crate) fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whose the first of these names is by this node's snapshot, while the store is away.
    pub(crate) async fn first_known(&self, names: &[HostName]) -> Option<(HostName, DeploymentId)> {
        self.copier.as_ref()?.whole()?.first_of(names).await.ok()?
    }

    /// What this node's snapshot has of the deployment, while the store is away or slow. `None`: there is no snapshot, or the store has
    /// said something newer already. To be called under the deployment's lock.
    async fn recall(&self, id: &DeploymentId) -> Option<Arc<Entry>> {
        let copier = self.copier.as_ref()?;
        let is_away = copier.is_away();
        let snapshot = if is_away { copier.whole() } else { copier.caught_up() }?;
        let assignment = match assignment_in(snapshot, id).await {
            Ok(assignment) => assignment,
            // Its entry is not whole: refused, it alone, where the store cannot be asked.
            Err(error @ StoreError::Corrupt(_)) if is_away => {
                copier.doubt();
                return Some(self.refuse(id, &error));
            }
            Err(error) => {
                tracing::debug!(deployment.id = %id, "this node's snapshot cannot be read: {error}");
                return None;
            }
        };
        let (deployment, _) = assignment.as_ref()?;
        if !copier.may_serve(id, deployment.generation) {
            return None;
        }
        let before = self.cache.peek(id);
        // What this node served instead of the newest before, it may serve when it has told the store.
        let built = self.build(snapshot, assignment.as_ref(), before.as_deref()).await.ok()?;
        let entry = Arc::new(built.entry);
        if entry.is_unservable() {
            if !is_away {
                return None;
            }
            copier.doubt();
        }
        self.cache.insert(id.clone(), Arc::clone(&entry));
        Some(entry)
    }

    /// Reads the store anew and swaps what is served. When the store does not answer, everything stays as it is; when it answers
    /// with something unreadable, the deployment is refused, for that may have narrowed its trust.
    pub(crate) async fn refresh(&self, id: &DeploymentId) -> Result<Loaded, StoreError> {
        let slot = self.slot(id);
        let _lock = slot.lock.lock().await;
        let loaded = self.load(id, For::Change).await;
        match &loaded {
            // Nobody asked: what is said of it, the index says too, by not having it any more.
            Ok(Loaded { assignment: None, .. }) => drop(self.cache.remove(id)),
            Ok(_) | Err(StoreError::Unavailable(_)) => {}
            Err(error) => {
                self.refuse(id, error);
            }
        }
        // After the swap, and before connections are told: see `is_as_it_was`.
        slot.changes.fetch_add(1, Ordering::AcqRel);
        loaded
    }

    /// To be asked before [`Loader::get`].
    pub(crate) fn stamp(&self, id: &DeploymentId) -> Stamp {
        Stamp(self.slot(id).changes.load(Ordering::Acquire))
    }

    /// Whether what [`Loader::get`] said after this stamp is still true, as far as this node knows. Of what changes from now on, those
    /// connections are told that are in the registry.
    pub(crate) fn is_as_it_was(&self, id: &DeploymentId, stamp: Stamp) -> bool {
        self.stamp(id) == stamp
    }

    /// Refuses new connections of the deployment. Live ones stay: nothing is known against them.
    fn refuse(&self, id: &DeploymentId, error: &StoreError) -> Arc<Entry> {
        let refusal = match error {
            StoreError::Unavailable(reason) => Refusal::Unavailable(reason.clone()),
            error => Refusal::Unservable(error.to_string()),
        };
        let entry = Arc::new(Entry::Refused(Refused::new(refusal, KnownTrust::Unknown)));
        self.cache.insert(id.clone(), Arc::clone(&entry));
        entry
    }

    fn at_hand(&self, id: &DeploymentId) -> Option<Arc<Entry>> {
        self.cache.get(id).filter(|entry| entry.is_fresh(self.membership.epoch()))
    }

    fn slot(&self, id: &DeploymentId) -> &Slot {
        &self.slots[self.slot_of.hash_one(id) as usize % self.slots.len()]
    }

    /// To be called under the deployment's lock.
    async fn load(&self, id: &DeploymentId, whose: For) -> Result<Loaded, StoreError> {
        let (held, reading) = self.read(whose).await?;
        let as_of = reading.as_of();
        let assignment = assignment_in(&reading, id).await?;
        if let Some(copier) = &self.copier {
            copier.seen(id, assignment.as_ref().map(|(deployment, _)| deployment.generation));
        }
        let before = self.cache.peek(id);
        let built = self.build(&reading, assignment.as_ref(), before.as_deref()).await?;
        // A withdrawal must not wait for what it holds.
        drop(reading);
        let entry = match (&assignment, built.fallback) {
            (Some((deployment, Some(certificate))), Some((identity, reason))) => {
                let observation = Observation { id, generation: deployment.generation, as_of };
                let fallback =
                    self.may_fall_back(&observation, deployment, certificate, reason, before.as_deref());
                match fallback.await {
                    Some(fallback) => Entry::Served(Served::new(deployment, identity, Some(fallback))),
                    None => built.entry,
                }
            }
            _ => built.entry,
        };
        let entry = Arc::new(entry);
        match &assignment {
            Some((deployment, _)) => self.index.set(id, &deployment.hosts),
            None => self.index.remove(id),
        }
        self.cache.insert(id.clone(), Arc::clone(&entry));
        if !self.history.is_since(held) {
            drop(self.cache.remove(id));
            return Err(another_history());
        }
        Ok(Loaded { assignment, entry, as_of })
    }

    /// One state of the store that belongs to what this node holds.
    async fn read(&self, whose: For) -> Result<(Held, Reading), StoreError> {
        let store = self.lifecycle.store();
        for _ in 0..READS_MAX {
            let held = self.history.held();
            let reading = match whose {
                For::Device => store.reading(held.position).await?,
                For::Change => store.reading_as_member(held.position).await?,
            };
            match self.history.judge(held, reading.as_of(), reading.continues()) {
                Verdict::Use => return Ok((held, reading)),
                Verdict::ReadAgain => {}
                Verdict::Lost => break,
            }
        }
        Err(another_history())
    }

    /// Whether this node may serve the version before the newest now, which it asks the store about.
    async fn may_fall_back(
        &self,
        observation: &Observation<'_>,
        deployment: &Deployment,
        certificate: &Certificate,
        reason: String,
        before: Option<&Entry>,
    ) -> Option<Fallback> {
        let newest = certificate.newest.version;
        let epoch = self.membership.epoch();
        let is_running = matches!(deployment.tls, TlsState::Running { .. });
        let allowed = match before {
            Some(Entry::Served(Served { fallback: Some(fallback), .. })) => {
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
                    tracing::debug!(deployment.id = %id, "the version before is not served yet: {error}");
                    return None;
                }
            }
        };
        Some(Fallback { newest, reason, allowed_in })
    }

    /// What this node holds is of another history: nothing of it is served any more.
    pub(crate) fn forget_everything(&self) {
        self.cache.clear();
    }

    /// What cannot be served for good is refused; what cannot be read now is an error.
    async fn build(
        &self,
        records: &impl Records,
        assignment: Option<&(Deployment, Option<Certificate>)>,
        before: Option<&Entry>,
    ) -> Result<Built, StoreError> {
        let refused = |refusal, trust| Entry::Refused(Refused::new(refusal, trust));
        let Some((deployment, certificate)) = assignment else {
            return Ok(refused(Refusal::Gone, KnownTrust::Nobody).into());
        };
        let Some(Certificate { newest, fallback }) = certificate else {
            return Ok(refused(Refusal::NoCertificate, KnownTrust::Nobody).into());
        };
        let reason = match self.identity(records, newest, before).await? {
            Ok(identity) => return Ok(Entry::Served(Served::new(deployment, identity, None)).into()),
            Err(reason) => reason,
        };
        let fallback = match fallback {
            Some(fallback) => self.identity(records, fallback, before).await?.ok(),
            None => None,
        };
        let entry = refused(Refusal::Unservable(reason.clone()), self.trust_of(newest));
        Ok(Built { entry, fallback: fallback.map(|identity| (identity, reason)) })
    }

    /// The identity of a version: that which is served already, or a new one; or why there is none for good, in one
    /// plain sentence.
    async fn identity(
        &self,
        records: &impl Records,
        version: &Version,
        before: Option<&Entry>,
    ) -> Result<Result<Arc<Identity>, String>, StoreError> {
        if let Some(identity) = served_already(version, before) {
            return Ok(Ok(Arc::clone(identity)));
        }
        let built = self.build_identity(records, version).await;
        self.metrics.loaded(matches!(built, Ok(Ok(_))));
        Ok(built?.map(Arc::new))
    }

    async fn build_identity(
        &self,
        records: &impl Records,
        version: &Version,
    ) -> Result<Result<Identity, String>, StoreError> {
        let material = match material_in(records, version).await {
            Ok(material) => material,
            Err(MaterialError::Store(error @ StoreError::Unavailable(_))) => return Err(error),
            Err(error) => return Ok(Err(error.to_string())),
        };
        let identity = self.workshop.identity(&material, version.version, version.trust_scope);
        Ok(identity.map_err(|unservable| unservable.to_string()))
    }

    /// Whom a version trusts that cannot be served: its live connections are held to that all the same.
    fn trust_of(&self, version: &Version) -> KnownTrust {
        let scope = version.trust_scope;
        if version.client_cas.is_empty() {
            return KnownTrust::Scope { scope, verifier: None };
        }
        let cas = version.client_cas.iter().map(|der| der.clone().into()).collect();
        match ClientTrust::new(cas).and_then(|trust| trust.verifier(self.workshop.provider())) {
            Ok(verifier) => KnownTrust::Scope { scope, verifier: Some(verifier) },
            Err(_) => KnownTrust::Nobody,
        }
    }
}

fn served_already<'a>(version: &Version, before: Option<&'a Entry>) -> Option<&'a Arc<Identity>> {
    match before {
        Some(Entry::Served(served)) if served.identity.version == version.version => Some(&served.identity),
        _ => None,
    }
}

fn another_history() -> StoreError {
    StoreError::Unavailable("its history is not the one that this node has read".to_owned())
}
