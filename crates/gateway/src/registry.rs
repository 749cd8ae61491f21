//! The live connections of each deployment, so that a change of trust reaches those that it concerns.
//!
//! A connection reads its trust scope before the handshake, enters after it, and then looks once more at what is served now:
//! whatever changed in between, either the change finds the connection here, or the connection finds the change.
//!
//! Here too a deployment's own limits are kept: a place is taken before the handshake, which is the costly part, and given back when
//! it fails. Taken, counted and given back under one lock, so that of any number that come at once exactly as many get in as may.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

use certward_store::{ConnectionLimits, DeploymentId, TrustScope};
use futures_util::task::AtomicWaker;
use tokio::{task::yield_now, time::Instant};

use crate::{cause::Cause, metrics::Metrics, token_bucket::TokenBucket};

/// Connections that are told at once; then others get their turn, for each may now verify a certificate, some 50 µs.
const TOLD_AT_ONCE: usize = 256;
/// Deployments that share a shard share a lock that is held for a microsecond.
const SHARDS: usize = 64;

#[derive(Debug)]
pub(crate) struct Registry {
    shards: Box<[Mutex<Shard>]>,
    shard_of: RandomState,
    metrics: Arc<Metrics>,
}

type Shard = HashMap<DeploymentId, Room>;

/// The connections of one deployment.
#[derive(Debug, Default)]
struct Room {
    /// Places taken: by the live ones, and by handshakes.
    taken: usize,
    /// Where new connections a second are limited. It outlasts the last connection by a second.
    bucket: Option<TokenBucket>,
    next: u64,
    live: HashMap<u64, Arc<Live>>,
}

/// One connection, as others see it.
#[derive(Debug)]
pub(crate) struct Live {
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

    /// Takes a place for a connection that is about to shake hands, or says which of the deployment's limits refuses it. A handshake
    /// that fails gives its place back, but has been one of the second's connections.
    pub(crate) fn take_place(
        self: &Arc<Self>,
        deployment: &DeploymentId,
        limits: ConnectionLimits,
        now: Instant,
    ) -> Result<Place, Cause> {
        let mut shard = self.shard(deployment);
        let taken = shard.entry(deployment.clone()).or_default().take(limits, now);
        drop(shard);
        taken?;
        Ok(Place { registry: Arc::clone(self), deployment: deployment.clone() })
    }

    /// How many connections the deployment has.
    pub(crate) fn count(&self, deployment: &DeploymentId) -> usize {
        self.shard(deployment).get(deployment).map_or(0, |room| room.live.len())
    }

    /// How many connections there are at all.
    pub(crate) fn total(&self) -> usize {
        let of_shard = |shard: &Mutex<Shard>| lock(shard).values().map(|room| room.live.len()).sum::<usize>();
        self.shards.iter().map(of_shard).sum()
    }

    /// Tells the deployment's connections of any other trust scope to verify themselves.
    pub(crate) async fn verify_outside(&self, deployment: &DeploymentId, scope: TrustScope) {
        self.tell(deployment, Signal::Verify, |live| *lock(&live.scope) != scope).await;
    }

    /// Tells all connections of the deployment to end.
    pub(crate) async fn close(&self, deployment: &DeploymentId) {
        self.tell(deployment, Signal::Deleted, |_| true).await;
    }

    /// All connections of this node.
    pub(crate) fn everyone(&self) -> Vec<Arc<Live>> {
        let of_shard = |shard| -> Vec<_> {
            lock::<Shard>(shard).values().flat_map(|room| room.live.values().cloned()).collect()
        };
        self.shards.iter().flat_map(of_shard).collect()
    }

    /// Tells all connections of this node to end.
    pub(crate) fn close_all(&self) {
        self.everyone().iter().for_each(|live| live.tell(Signal::Shutdown));
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

    /// Forgets the deployments of which nothing more than of new ones is to be remembered. To be called once in a while.
    pub(crate) fn sweep(&self, now: Instant) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.retain(|_, room| !room.is_idle(now));
            let in_use = shard.len();
            shard.shrink_to(2 * in_use);
        }
    }

    /// Of how many deployments something is remembered.
    pub(crate) fn deployments(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, deployment: &DeploymentId) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.shard_of.hash_one(deployment) as usize % SHARDS])
    }
}

impl Room {
    fn take(&mut self, limits: ConnectionLimits, now: Instant) -> Result<(), Cause> {
        // First what costs nothing: who finds the deployment full does not use up the second.
        if limits.at_once.is_some_and(|max| self.taken >= max.get() as usize) {
            return Err(Cause::DeploymentConnectionsMax);
        }
        match limits.per_second {
            None => self.bucket = None,
            Some(rate) => {
                let bucket = self.bucket.get_or_insert_with(|| TokenBucket::full(rate, now));
                if !bucket.take(rate, now) {
                    return Err(Cause::DeploymentConnectionRate);
                }
            }
        }
        self.taken += 1;
        Ok(())
    }

    /// Whether a new room would be as good.
    fn is_idle(&self, now: Instant) -> bool {
        self.taken == 0 && self.bucket.as_ref().is_none_or(|bucket| bucket.is_full(now))
    }
}

// Nothing that holds one of these locks can panic half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    pub(crate) fn tell(&self, signal: Signal) {
        self.signal.fetch_max(signal.code(), Ordering::AcqRel);
        self.waker.wake();
    }
}

/// A place among a deployment's connections; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    registry: Arc<Registry>,
    deployment: DeploymentId,
}

impl Place {
    /// The handshake is done: the connection is known to the registry from now on.
    pub(crate) fn enter(self, scope: TrustScope) -> Membership {
        let live = Arc::new(Live {
            scope: Mutex::new(scope),
            signal: AtomicU8::new(QUIET),
            waker: AtomicWaker::new(),
        });
        let mut shard = self.registry.shard(&self.deployment);
        // Made anew only if it were missing, which a taken place rules out.
        let room = shard.entry(self.deployment.clone()).or_default();
        let number = room.next;
        room.next += 1;
        room.live.insert(number, Arc::clone(&live));
        drop(shard);
        self.registry.metrics.connected();
        Membership { place: self, number, live }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut shard = self.registry.shard(&self.deployment);
        if let Some(room) = shard.get_mut(&self.deployment) {
            room.taken -= 1;
            // One with a bucket stays for the next sweep: its tokens are not forgotten by going away and coming again.
            if room.taken == 0 && room.bucket.is_none() {
                shard.remove(&self.deployment);
            }
        }
    }
}

/// That a connection is in the registry.
#[derive(Debug)]
pub(crate) struct Membership {
    place: Place,
    number: u64,
    live: Arc<Live>,
}

impl Membership {
    pub(crate) fn deployment(&self) -> &DeploymentId {
        &self.place.deployment
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
        let Place { registry, deployment } = &self.place;
        if let Some(room) = registry.shard(deployment).get_mut(deployment) {
            room.live.remove(&self.number);
        }
        registry.metrics.disconnected();
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

    fn enter(registry: &Arc<Registry>, name: &str, scope: u8) -> Membership {
        let place = registry.take_place(&id(name), ConnectionLimits::default(), Instant::now()).unwrap();
        place.enter(TrustScope([scope; 16]))
    }

    fn limits(at_once: i64, per_second: i64) -> ConnectionLimits {
        let limit = |number| certward_store::ConnectionLimit::parse(number).unwrap();
        ConnectionLimits { at_once: limit(at_once), per_second: limit(per_second) }
    }

    #[test]
    fn a_change_of_trust_is_told_to_connections_of_other_scopes_only() {
        let registry = registry();
        let old = enter(&registry, "a", 1);
        let new = enter(&registry, "a", 2);
        let other = enter(&registry, "b", 1);
        registry.verify_outside(&id("a"), TrustScope([2; 16])).now_or_never().unwrap();
        assert_eq!(old.signal().now_or_never(), Some(Signal::Verify));
        assert_eq!(new.signal().now_or_never(), None);
        assert_eq!(other.signal().now_or_never(), None);
    }

    #[test]
    fn a_deletion_overrules_a_verification() {
        let registry = registry();
        let member = enter(&registry, "a", 1);
        registry.close(&id("a")).now_or_never().unwrap();
        registry.verify_outside(&id("a"), TrustScope([2; 16])).now_or_never().unwrap();
        assert_eq!(member.signal().now_or_never(), Some(Signal::Deleted));
    }

    #[test]
    fn connections_are_counted_until_they_end() {
        let registry = registry();
        let members: Vec<_> = (0..3).map(|_| enter(&registry, "a", 1)).collect();
        assert_eq!((registry.count(&id("a")), registry.total()), (3, 3));
        drop(members);
        assert_eq!((registry.count(&id("a")), registry.total()), (0, 0));
    }

    #[test]
    fn a_shutdown_is_told_to_all() {
        let registry = registry();
        let members = ["a", "b"].map(|name| enter(&registry, name, 1));
        registry.close_all();
        assert!(members.iter().all(|member| member.signal().now_or_never() == Some(Signal::Shutdown)));
    }

    #[test]
    fn of_many_that_come_at_once_exactly_as_many_get_in_as_may() {
        let registry = registry();
        let now = Instant::now();
        for (limits, allowed, refusal) in [
            (limits(7, 0), 7, Cause::DeploymentConnectionsMax),
            (limits(0, 9), 9, Cause::DeploymentConnectionRate),
            (limits(5, 9), 5, Cause::DeploymentConnectionsMax),
            (limits(1, 1), 1, Cause::DeploymentConnectionsMax),
        ] {
            let name = format!("d{allowed}");
            let all: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|_| {
                        scope.spawn(|| {
                            let take = |_| registry.take_place(&id(&name), limits, now);
                            (0..100).map(take).collect::<Vec<_>>()
                        })
                    })
                    .collect();
                threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(all.iter().filter(|taken| taken.is_ok()).count(), allowed, "{limits}");
            assert!(
                all.iter().filter_map(|taken| taken.as_ref().err()).all(|cause| *cause == refusal),
                "{limits}"
            );
        }
    }

    #[test]
    fn a_place_is_free_again_when_its_handshake_fails_or_its_connection_ends() {
        let registry = registry();
        let take = || registry.take_place(&id("a"), limits(1, 0), Instant::now());
        let place = take().unwrap();
        assert!(take().is_err());
        assert_eq!(registry.count(&id("a")), 0, "a handshake is no connection yet");
        drop(place);
        let member = take().unwrap().enter(TrustScope([1; 16]));
        assert!(take().is_err());
        drop(member);
        assert!(take().is_ok());
        assert_eq!(registry.deployments(), 0, "nothing is kept of a deployment without connections");
    }

    #[test]
    fn a_new_limit_holds_for_the_next_connection_and_drops_none() {
        let registry = registry();
        let take = |limits| registry.take_place(&id("a"), limits, Instant::now());
        let members: Vec<_> = (0..3).map(|_| enter(&registry, "a", 1)).collect();
        assert_eq!(take(limits(2, 0)).unwrap_err(), Cause::DeploymentConnectionsMax);
        assert!(members.iter().all(|member| member.signal().now_or_never().is_none()));
        assert!(take(limits(4, 0)).is_ok());
        assert!(take(limits(0, 0)).is_ok());
    }

    #[test]
    fn who_goes_away_and_comes_again_finds_the_second_used_up_until_it_is_over() {
        let registry = registry();
        let start = Instant::now();
        let take = |name: &str, ms| {
            registry.take_place(&id(name), limits(0, 2), start + std::time::Duration::from_millis(ms)).is_ok()
        };
        assert_eq!([take("a", 0), take("a", 0), take("a", 0)], [true, true, false]);
        assert_eq!([take("a", 499), take("a", 500), take("a", 501)], [false, true, false]);
        for n in 0..100 {
            assert!(take(&format!("d{n}"), 1000 + n));
        }
        registry.sweep(start + std::time::Duration::from_millis(2050));
        assert_eq!(registry.deployments(), 49, "those whose second is not over");
    }
}
