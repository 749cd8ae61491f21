//! The live connections of each deployment, so that a change of trust reaches them.
//!
//! A connection reads its trust scope before the handshake, registers after it, then checks the
//! configuration again: the change finds the connection, or the connection the change. Limits count
//! finished connections (`admission.rs`), exactly, under one lock; a ClientHello only asks for
//! room.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

use certward_pki::Revocations;
use certward_store::{ConnectionLimits, DeploymentId, DeploymentRef, TrustScope};
use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};
use tokio::{task::yield_now, time::Instant};

use crate::{
    config::client_check::TrustStamp,
    devices::hourly_offers::HourlyOffers,
    observe::{cause::Cause, metrics::Metrics},
    session::{client_facts::ClientFacts, session_facts::SessionFacts, token_bucket::TokenBucket},
};

/// Signals between yields: each connection may verify a certificate, some 50 µs.
pub(crate) const SIGNALS_PER_YIELD: usize = 256;
/// Each end of a connection without an answer asks; a stranger can cause many.
const ANSWERS_LOOKED_AT: usize = 256;
/// Each takes some nanoseconds of a shard's lock.
const VISITED_AT_ONCE: usize = 1024;
/// A shard's lock is held for a microsecond.
const SHARDS: usize = 64;

#[derive(Debug)]
pub(crate) struct Registry {
    shards: Box<[Mutex<Shard>]>,
    shard_of: RandomState,
    metrics: Arc<Metrics>,
    offers: Arc<HourlyOffers>,
}

type Shard = HashMap<DeploymentId, DeploymentConnections>;

#[derive(Debug, Default)]
struct DeploymentConnections {
    /// Finished connections.
    counted: usize,
    /// Set with a rate limit. Outlasts the last connection by a second.
    bucket: Option<TokenBucket>,
    next: u64,
    /// By number: in the order of their registration.
    live: BTreeMap<u64, Arc<ConnectionHandle>>,
}

#[derive(Debug)]
pub(crate) struct ConnectionHandle {
    stamp: Mutex<TrustStamp>,
    /// `None` without a client certificate.
    pub(crate) client: Option<Box<ClientFacts>>,
    /// When its handshake ended: see `NodeContext::uptime_seconds`.
    pub(crate) began: u32,
    signal: AtomicU8,
    /// The digest of the settings by which the broker answered; 0 before.
    answered: AtomicU32,
    /// Set once the broker has accepted the device.
    facts: OnceLock<Box<SessionFacts>>,
    waker: AtomicWaker,
}

/// A connection whose handshake has ended.
#[derive(Debug)]
pub(crate) struct Entrant {
    /// As read before the handshake.
    pub(crate) stamp: TrustStamp,
    /// See [`ConnectionHandle`].
    pub(crate) client: Option<Box<ClientFacts>>,
    /// See [`ConnectionHandle`].
    pub(crate) began: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionSignal {
    /// The trust changed: verify again.
    Verify,
    /// As `Verify`; a session that waited has its turn to end.
    Turn,
    /// The client certificate has ended: verify again.
    Expired,
    /// It is too old.
    Aged,
    /// An operator ended the session.
    Requested,
    /// The certificate was deleted, or no client is trusted.
    Deleted,
    Shutdown,
}

const QUIET: u8 = 0;

impl ConnectionSignal {
    /// Higher codes override lower ones.
    fn code(self) -> u8 {
        match self {
            Self::Verify => 1,
            Self::Turn => 2,
            Self::Expired => 3,
            Self::Aged => 4,
            Self::Requested => 5,
            Self::Deleted => 6,
            Self::Shutdown => 7,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Verify, Self::Turn, Self::Expired, Self::Aged, Self::Requested, Self::Deleted, Self::Shutdown]
            .into_iter()
            .find(|signal| signal.code() == code)
    }
}

impl Registry {
    pub(crate) fn new(metrics: Arc<Metrics>, offers: Arc<HourlyOffers>) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, shard_of: RandomState::new(), metrics, offers }
    }

    /// The limit that refuses another connection: an early check before the handshake.
    /// [`Registration::count`] decides.
    pub(crate) fn check_room(
        &self,
        deployment: &DeploymentId,
        limits: ConnectionLimits,
        now: Instant,
    ) -> Result<(), Cause> {
        if limits == ConnectionLimits::default() {
            return Ok(());
        }
        self.shard(deployment)
            .get(deployment)
            .map_or(Ok(()), |connections| connections.check_room(limits, now))
    }

    pub(crate) fn enter(self: &Arc<Self>, deployment: DeploymentId, entrant: Entrant) -> Registration {
        let Entrant { stamp, client, began } = entrant;
        let live = Arc::new(ConnectionHandle {
            stamp: Mutex::new(stamp),
            client,
            began,
            signal: AtomicU8::new(QUIET),
            answered: AtomicU32::new(0),
            facts: OnceLock::new(),
            waker: AtomicWaker::new(),
        });
        let mut shard = self.shard(&deployment);
        let connections = shard.entry(deployment.clone()).or_default();
        let number = connections.next;
        connections.next += 1;
        connections.live.insert(number, Arc::clone(&live));
        drop(shard);
        self.metrics.connected();
        Registration { registry: Arc::clone(self), deployment, number, is_counted: false, live }
    }

    pub(crate) fn count(&self, deployment: &DeploymentId) -> usize {
        self.shard(deployment).get(deployment).map_or(0, |connections| connections.live.len())
    }

    /// Whether a connection lives that the broker answered by these settings; of very many, some
    /// are looked at.
    pub(crate) fn has_answered(&self, deployment: &DeploymentId, settings: u32) -> bool {
        let answered = |live: &Arc<ConnectionHandle>| live.answered.load(Ordering::Relaxed) == settings;
        self.shard(deployment)
            .get(deployment)
            .is_some_and(|connections| connections.live.values().take(ANSWERS_LOOKED_AT).any(answered))
    }

    pub(crate) fn total(&self) -> usize {
        let of_shard = |shard: &Mutex<Shard>| {
            lock(shard).values().map(|connections| connections.live.len()).sum::<usize>()
        };
        self.shards.iter().map(of_shard).sum()
    }

    /// Those that were verified by another trust, and those that are revoked.
    pub(crate) async fn verify_outside(
        &self,
        deployment: &DeploymentId,
        stamp: TrustStamp,
        revocations: Option<&Revocations>,
    ) {
        let is_concerned = |live: &ConnectionHandle| {
            *lock(&live.stamp) != stamp || revocations.is_some_and(|revocations| live.is_denied(revocations))
        };
        self.signal(deployment, ConnectionSignal::Verify, is_concerned).await;
    }

    /// Those with a client certificate.
    pub(crate) async fn verify_clients(&self, deployment: &DeploymentId) {
        self.signal(deployment, ConnectionSignal::Verify, |live| live.client.is_some()).await;
    }

    pub(crate) async fn verify_all(&self, deployment: &DeploymentId) {
        self.signal(deployment, ConnectionSignal::Verify, |_| true).await;
    }

    pub(crate) async fn close(&self, deployment: &DeploymentId) {
        self.signal(deployment, ConnectionSignal::Deleted, |_| true).await;
    }

    pub(crate) fn all_connections(&self) -> Vec<Arc<ConnectionHandle>> {
        let of_shard = |shard| -> Vec<_> {
            lock::<Shard>(shard).values().flat_map(|connections| connections.live.values().cloned()).collect()
        };
        self.shards.iter().flat_map(of_shard).collect()
    }

    /// The oldest connections after the one of that number. `None`: there is no other.
    pub(crate) fn page_after(
        &self,
        deployment: &DeploymentId,
        after: Option<u64>,
    ) -> Option<Vec<(u64, Arc<ConnectionHandle>)>> {
        let first = after.map_or(0, |after| after + 1);
        let shard = self.shard(deployment);
        let later = shard.get(deployment)?.live.range(first..).take(VISITED_AT_ONCE);
        let page: Vec<_> = later.map(|(number, live)| (*number, Arc::clone(live))).collect();
        (!page.is_empty()).then_some(page)
    }

    /// Visits the connections, the newest first. Later ones may be left out.
    pub(crate) fn visit(&self, deployment: &DeploymentId, mut visit: impl FnMut(&ConnectionHandle)) {
        let mut before = u64::MAX;
        loop {
            // Visited outside the lock, which connections that come and go take.
            let some: Vec<_> = match self.shard(deployment).get(deployment) {
                Some(connections) => {
                    let older = connections.live.range(..before).rev().take(VISITED_AT_ONCE);
                    older.map(|(number, live)| (*number, Arc::clone(live))).collect()
                }
                None => return,
            };
            some.iter().for_each(|(_, live)| visit(live));
            match some.last() {
                Some((number, _)) => before = *number,
                None => return,
            }
        }
    }

    pub(crate) fn close_all(&self) {
        self.all_connections().iter().for_each(|live| live.send(ConnectionSignal::Shutdown));
    }

    async fn signal(
        &self,
        deployment: &DeploymentId,
        signal: ConnectionSignal,
        selects: impl Fn(&ConnectionHandle) -> bool,
    ) {
        let (mut after, mut sent) = (None, 0_usize);
        // Looked at and woken outside the lock, which connections that come and go take.
        while let Some(page) = self.page_after(deployment, after) {
            after = page.last().map(|(number, _)| *number);
            for (_, live) in page.iter().filter(|(_, live)| selects(live)) {
                if sent > 0 && sent.is_multiple_of(SIGNALS_PER_YIELD) {
                    yield_now().await;
                }
                live.send(signal);
                sent += 1;
            }
            if page.len() < VISITED_AT_ONCE {
                return;
            }
            yield_now().await;
        }
    }

    /// Drops idle deployments. Call it periodically.
    pub(crate) fn sweep(&self, now: Instant) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.retain(|_, connections| !connections.is_idle(now));
            let in_use = shard.len();
            shard.shrink_to(2 * in_use);
        }
    }

    pub(crate) fn connected_deployments(&self) -> Vec<DeploymentId> {
        self.shards.iter().flat_map(|shard| lock(shard).keys().cloned().collect::<Vec<_>>()).collect()
    }

    pub(crate) fn deployments(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, deployment: &DeploymentId) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.shard_of.hash_one(deployment) as usize % SHARDS])
    }
}

impl DeploymentConnections {
    fn check_room(&self, limits: ConnectionLimits, now: Instant) -> Result<(), Cause> {
        if limits.at_once.is_some_and(|max| self.counted >= max.get() as usize) {
            return Err(Cause::DeploymentConnectionsMax);
        }
        match (limits.per_second, &self.bucket) {
            (Some(rate), Some(bucket)) if !bucket.has_one(rate, now) => Err(Cause::DeploymentConnectionRate),
            _ => Ok(()),
        }
    }

    fn count(&mut self, limits: ConnectionLimits, now: Instant) -> Result<(), Cause> {
        // A refused connection takes no token.
        self.check_room(limits, now)?;
        match limits.per_second {
            None => self.bucket = None,
            Some(rate) => {
                self.bucket.get_or_insert_with(|| TokenBucket::full(rate, now)).take(rate, now);
            }
        }
        self.counted += 1;
        Ok(())
    }

    /// Whether it equals a new value.
    fn is_idle(&self, now: Instant) -> bool {
        self.live.is_empty() && self.bucket.as_ref().is_none_or(|bucket| bucket.is_full(now))
    }
}

// No holder of these locks can panic halfway through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

impl ConnectionHandle {
    pub(crate) fn send(&self, signal: ConnectionSignal) {
        self.signal.fetch_max(signal.code(), Ordering::AcqRel);
        self.waker.wake();
    }

    /// By its keys. Its name is that which the broker was told, also after a change of the
    /// identity.
    pub(crate) fn is_denied(&self, revocations: &Revocations) -> bool {
        self.client.as_ref().is_some_and(|client| client.is_denied(revocations))
    }

    /// `None`: the broker has not accepted the device.
    pub(crate) fn facts(&self) -> Option<&SessionFacts> {
        self.facts.get().map(|facts| &**facts)
    }
}

#[derive(Debug)]
pub(crate) struct Registration {
    registry: Arc<Registry>,
    deployment: DeploymentId,
    number: u64,
    is_counted: bool,
    live: Arc<ConnectionHandle>,
}

impl Registration {
    pub(crate) fn deployment(&self) -> &DeploymentId {
        &self.deployment
    }

    /// Grows with every connection of the deployment.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn handle(&self) -> &Arc<ConnectionHandle> {
        &self.live
    }

    /// `Err`: the limit that refuses it.
    pub(crate) fn count(&mut self, limits: ConnectionLimits, now: Instant) -> Result<(), Cause> {
        if let Some(connections) = self.registry.shard(&self.deployment).get_mut(&self.deployment) {
            connections.count(limits, now)?;
            self.is_counted = true;
        }
        Ok(())
    }

    /// `settings`: their digest.
    pub(crate) fn set_answered(&self, settings: u32) {
        self.live.answered.store(settings, Ordering::Relaxed);
    }

    /// Once.
    pub(crate) fn set_facts(&self, facts: SessionFacts) {
        // A second call changes nothing.
        let _ = self.live.facts.set(Box::new(facts));
    }

    /// A known device's deployment is gone, and another has its id.
    pub(crate) fn is_of_another(&self, deployment: &DeploymentRef) -> bool {
        self.live.facts().is_some_and(|facts| *facts.deployment != *deployment)
    }

    /// That it was verified in.
    pub(crate) fn scope(&self) -> TrustScope {
        lock(&self.live.stamp).scope()
    }

    pub(crate) fn move_to(&self, stamp: TrustStamp) {
        *lock(&self.live.stamp) = stamp;
    }

    /// Takes a pending signal, or registers the task for the next.
    pub(crate) fn poll_signal(&self, cx: &mut Context<'_>) -> Poll<ConnectionSignal> {
        // Registers first, so a signal in between is not lost.
        self.live.waker.register(cx.waker());
        if self.live.signal.load(Ordering::Acquire) == QUIET {
            return Poll::Pending;
        }
        match ConnectionSignal::from_code(self.live.signal.swap(QUIET, Ordering::AcqRel)) {
            Some(signal) => Poll::Ready(signal),
            None => Poll::Pending,
        }
    }

    pub(crate) async fn signal(&self) -> ConnectionSignal {
        std::future::poll_fn(|cx| self.poll_signal(cx)).await
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut shard = self.registry.shard(&self.deployment);
        if let Some(connections) = shard.get_mut(&self.deployment) {
            connections.live.remove(&self.number);
            connections.counted -= usize::from(self.is_counted);
            // A bucket stays for the next sweep: reconnecting must not refill it.
            if connections.live.is_empty() && connections.bucket.is_none() {
                shard.remove(&self.deployment);
            }
        }
        drop(shard);
        if let Some(facts) = self.live.facts() {
            self.registry.offers.ended(facts);
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
        Arc::new(Registry::new(Arc::default(), Arc::default()))
    }

    fn enter(registry: &Arc<Registry>, name: &str, scope: u8) -> Registration {
        registry.enter(id(name), Entrant { stamp: stamp(scope), client: None, began: 0 })
    }

    fn stamp(scope: u8) -> TrustStamp {
        TrustStamp::new(TrustScope([scope; 16]), None)
    }

    fn finish(
        registry: &Arc<Registry>,
        name: &str,
        limits: ConnectionLimits,
        now: Instant,
    ) -> Result<Registration, Cause> {
        let mut member = enter(registry, name, 1);
        member.count(limits, now).map(|()| member)
    }

    fn limits(at_once: i64, per_second: i64) -> ConnectionLimits {
        let limit = |number| certward_store::ConnectionLimit::parse(number).unwrap();
        ConnectionLimits { at_once: limit(at_once), per_second: limit(per_second) }
    }

    #[test]
    fn a_change_of_trust_signals_connections_of_other_scopes_only() {
        let registry = registry();
        let old = enter(&registry, "a", 1);
        let new = enter(&registry, "a", 2);
        let other = enter(&registry, "b", 1);
        registry.verify_outside(&id("a"), stamp(2), None).now_or_never().unwrap();
        assert_eq!(old.signal().now_or_never(), Some(ConnectionSignal::Verify));
        assert_eq!(new.signal().now_or_never(), None);
        assert_eq!(other.signal().now_or_never(), None);
    }

    #[test]
    fn a_deletion_overrules_a_verification() {
        let registry = registry();
        let member = enter(&registry, "a", 1);
        registry.close(&id("a")).now_or_never().unwrap();
        registry.verify_outside(&id("a"), stamp(2), None).now_or_never().unwrap();
        assert_eq!(member.signal().now_or_never(), Some(ConnectionSignal::Deleted));
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
    fn a_shutdown_signals_all_connections() {
        let registry = registry();
        let members = ["a", "b"].map(|name| enter(&registry, name, 1));
        registry.close_all();
        assert!(
            members.iter().all(|member| member.signal().now_or_never() == Some(ConnectionSignal::Shutdown))
        );
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
                            let finish = |_| finish(&registry, &name, limits, now);
                            (0..100).map(finish).collect::<Vec<_>>()
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
            assert_eq!(registry.check_room(&id(&name), limits, now), Err(refusal), "{limits}");
        }
    }

    #[test]
    fn a_connection_that_is_not_finished_counts_for_nothing() {
        let registry = registry();
        let (limits, now) = (limits(1, 1), Instant::now());
        let _unfinished: Vec<_> = (0..9).map(|_| enter(&registry, "a", 1)).collect();
        assert_eq!(registry.check_room(&id("a"), limits, now), Ok(()));
        let _finished = finish(&registry, "a", limits, now).unwrap();
        assert_eq!(registry.check_room(&id("a"), limits, now), Err(Cause::DeploymentConnectionsMax));
        assert_eq!(registry.count(&id("a")), 10);
    }

    #[test]
    fn a_place_is_free_again_when_its_connection_ends() {
        let registry = registry();
        let finish = || finish(&registry, "a", limits(1, 0), Instant::now());
        let member = finish().unwrap();
        assert!(finish().is_err());
        drop(member);
        assert!(finish().is_ok());
        assert_eq!(registry.deployments(), 0, "nothing is kept of a deployment without connections");
    }

    #[test]
    fn a_new_limit_holds_for_the_next_connection_and_drops_none() {
        let registry = registry();
        let finish = |limits| finish(&registry, "a", limits, Instant::now());
        let members: Vec<_> = (0..3).map(|_| finish(limits(0, 0)).unwrap()).collect();
        assert_eq!(finish(limits(2, 0)).unwrap_err(), Cause::DeploymentConnectionsMax);
        assert!(members.iter().all(|member| member.signal().now_or_never().is_none()));
        assert!(finish(limits(4, 0)).is_ok());
        assert!(finish(limits(0, 0)).is_ok());
    }

    #[test]
    fn who_goes_away_and_comes_again_finds_the_second_used_up_until_it_is_over() {
        let registry = registry();
        let start = Instant::now();
        let take = |name: &str, ms| {
            let now = start + std::time::Duration::from_millis(ms);
            let has_room = registry.check_room(&id(name), limits(0, 2), now).is_ok();
            assert_eq!(finish(&registry, name, limits(0, 2), now).is_ok(), has_room);
            has_room
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
