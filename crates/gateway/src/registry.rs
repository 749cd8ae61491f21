//! The live connections of each deployment, so that a change of trust reaches those that it concerns.
//!
//! A connection reads its trust scope before the handshake, enters after it, and then looks once more at what is served now:
//! whatever changed in between, either the change finds the connection here, or the connection finds the change.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

use certward_store::{DeploymentId, TrustScope};
use futures_util::task::AtomicWaker;
use tokio::task::yield_now;

use crate::metrics::Metrics;

/// Connections that are told at once; then others get their turn, for each may now verify a certificate, some 50 µs.
const TOLD_AT_ONCE: usize = 256;
/// Deployments that share a shard share a lock that is held for a microsecond.
const SHARDS: usize = 64;

#[derive(Debug)]
pub(crate) struct Registry {
    shards: Box<[Mutex<HashMap<DeploymentId, Room>>]>,
    shard_of: RandomState,
    metrics: Arc<Metrics>,
}

/// The connections of one deployment.
#[derive(Debug, Default)]
struct Room {
    next: u64,
    live: HashMap<u64, Arc<Live>>,
}

/// One connection, as others see it.
#[derive(Debug)]
struct Live {
    scope: Mutex<TrustScope>,
    signal: AtomicU8,
    waker: AtomicWaker,
}

/// What a connection is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// The trust changed: verify yourself.
    Verify,
    /// The deployment's certificate is deleted, or nobody is trusted any more.
    Deleted,
    /// The node shuts down.
    Shutdown,
}

const QUIET: u8 = 0;

impl Signal {
    /// Higher ones overrule lower ones.
    fn code(self) -> u8 {
        match self {
            Self::Verify => 1,
            Self::Deleted => 2,
            Self::Shutdown => 3,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Verify, Self::Deleted, Self::Shutdown].into_iter().find(|signal| signal.code() == code)
    }
}

impl Registry {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, shard_of: RandomState::new(), metrics }
    }

    /// A connection begins. It ends when the entry is dropped.
    pub(crate) fn enter(self: &Arc<Self>, deployment: &DeploymentId, scope: TrustScope) -> Membership {
        let live = Arc::new(Live {
            scope: Mutex::new(scope),
            signal: AtomicU8::new(QUIET),
            waker: AtomicWaker::new(),
        });
        let mut rooms = self.shard(deployment);
        let room = rooms.entry(deployment.clone()).or_default();
        let number = room.next;
        room.next += 1;
        room.live.insert(number, Arc::clone(&live));
        self.metrics.connected();
        Membership { registry: Arc::clone(self), deployment: deployment.clone(), number, live }
    }

    /// How many connections the deployment has.
    pub(crate) fn count(&self, deployment: &DeploymentId) -> usize {
        self.shard(deployment).get(deployment).map_or(0, |room| room.live.len())
    }

    /// How many connections there are at all.
    pub(crate) fn total(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).values().map(|room| room.live.len()).sum::<usize>()).sum()
    }

    /// Tells the deployment's connections of any other trust scope to verify themselves.
    pub(crate) async fn verify_outside(&self, deployment: &DeploymentId, scope: TrustScope) {
        self.tell(deployment, Signal::Verify, |live| *lock(&live.scope) != scope).await;
    }

    /// Tells all connections of the deployment to end.
    pub(crate) async fn close(&self, deployment: &DeploymentId) {
        self.tell(deployment, Signal::Deleted, |_| true).await;
    }

    /// Tells all connections of this node to end.
    pub(crate) fn close_all(&self) {
        for shard in &self.shards {
            let told: Vec<_> = lock(shard).values().flat_map(|room| room.live.values().cloned()).collect();
            told.iter().for_each(|live| live.tell(Signal::Shutdown));
        }
    }

    async fn tell(&self, deployment: &DeploymentId, signal: Signal, whom: impl Fn(&Live) -> bool) {
        // Woken outside the lock: a connection that ends at once wants it.
        let told: Vec<_> = match self.shard(deployment).get(deployment) {
            Some(room) => room.live.values().filter(|live| whom(live)).cloned().collect(),
            None => return,
        };
        for (at, live) in told.iter().enumerate() {
            if at > 0 && at.is_multiple_of(TOLD_AT_ONCE) {
                yield_now().await;
            }
            live.tell(signal);
        }
    }

    fn shard(&self, deployment: &DeploymentId) -> MutexGuard<'_, HashMap<DeploymentId, Room>> {
        lock(&self.shards[self.shard_of.hash_one(deployment) as usize % SHARDS])
    }
}

// Nothing that holds one of these locks can panic half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    fn tell(&self, signal: Signal) {
        self.signal.fetch_max(signal.code(), Ordering::AcqRel);
        self.waker.wake();
    }
}

/// That a connection is in the registry.
#[derive(Debug)]
pub(crate) struct Membership {
    registry: Arc<Registry>,
    deployment: DeploymentId,
    number: u64,
    live: Arc<Live>,
}

impl Membership {
    pub(crate) fn deployment(&self) -> &DeploymentId {
        &self.deployment
    }

    pub(crate) fn scope(&self) -> TrustScope {
        *lock(&self.live.scope)
    }

    /// The connection has verified itself within this scope.
    pub(crate) fn move_to(&self, scope: TrustScope) {
        *lock(&self.live.scope) = scope;
    }

    /// Takes what the connection was told, if anything; else the task is woken when it is.
    pub(crate) fn poll_signal(&self, cx: &mut Context<'_>) -> Poll<Signal> {
        // Registered first: a signal between the two is then not lost.
        self.live.waker.register(cx.waker());
        if self.live.signal.load(Ordering::Acquire) == QUIET {
            return Poll::Pending;
        }
        match Signal::from_code(self.live.signal.swap(QUIET, Ordering::AcqRel)) {
            Some(signal) => Poll::Ready(signal),
            None => Poll::Pending,
        }
    }

    pub(crate) async fn signal(&self) -> Signal {
        std::future::poll_fn(|cx| self.poll_signal(cx)).await
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut rooms = self.registry.shard(&self.deployment);
        if let Some(room) = rooms.get_mut(&self.deployment) {
            room.live.remove(&self.number);
            if room.live.is_empty() {
                rooms.remove(&self.deployment);
            }
        }
        self.registry.metrics.disconnected();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn id(text: &str) -> DeploymentId {
        DeploymentId::parse(text).unwrap()
    }

    fn registry() -> Arc<Registry> {
        Arc::new(Registry::new(Arc::default()))
    }

    #[test]
    fn a_change_of_trust_is_told_to_connections_of_other_scopes_only() {
        let registry = registry();
        let old = registry.enter(&id("a"), TrustScope([1; 16]));
        let new = registry.enter(&id("a"), TrustScope([2; 16]));
        let other = registry.enter(&id("b"), TrustScope([1; 16]));
        registry.verify_outside(&id("a"), TrustScope([2; 16])).now_or_never().unwrap();
        assert_eq!(old.signal().now_or_never(), Some(Signal::Verify));
        assert_eq!(new.signal().now_or_never(), None);
        assert_eq!(other.signal().now_or_never(), None);
    }

    #[test]
    fn a_deletion_overrules_a_verification() {
        let registry = registry();
        let member = registry.enter(&id("a"), TrustScope([1; 16]));
        registry.close(&id("a")).now_or_never().unwrap();
        registry.verify_outside(&id("a"), TrustScope([2; 16])).now_or_never().unwrap();
        assert_eq!(member.signal().now_or_never(), Some(Signal::Deleted));
    }

    #[test]
    fn connections_are_counted_until_they_end() {
        let registry = registry();
        let members: Vec<_> = (0..3).map(|_| registry.enter(&id("a"), TrustScope([1; 16]))).collect();
        assert_eq!((registry.count(&id("a")), registry.total()), (3, 3));
        drop(members);
        assert_eq!((registry.count(&id("a")), registry.total()), (0, 0));
    }

    #[test]
    fn a_shutdown_is_told_to_all() {
        let registry = registry();
        let members = ["a", "b"].map(|name| registry.enter(&id(name), TrustScope([1; 16])));
        registry.close_all();
        assert!(members.iter().all(|member| member.signal().now_or_never() == Some(Signal::Shutdown)));
    }
}
