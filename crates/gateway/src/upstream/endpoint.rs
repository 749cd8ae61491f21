use std::{
    collections::HashMap,
    fmt::Display,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{AcquireError, Semaphore, SemaphorePermit},
    time::Instant,
};

use super::health::{Eligibility, EndpointHealth};
use crate::observe::{log_throttle::LogThrottle, metrics::Metrics};

/// Concurrent connects to one address; others queue in order. Brokers' accept queues hold 100
/// (Mosquitto), 128 (RabbitMQ), 1024 (EMQX); a full one costs a second. On a path of 200 ms still
/// 1,280 a second, 5,000 devices within the deadline.
pub(super) const CONNECTS_AT_ONCE: usize = 256;

/// An upstream address in use or down.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    connect_slots: Semaphore,
    health: Mutex<EndpointHealth>,
    /// "Down" is logged, "up" is not. Devices can cause both repeatedly (a broker that accepts
    /// every second connect): once a minute.
    down_logged: AtomicBool,
    log_throttle: LogThrottle,
    metrics: Arc<Metrics>,
}

/// Deployments with the same address share its endpoint.
#[derive(Debug)]
pub(super) struct Endpoints {
    known: Mutex<HashMap<SocketAddr, Arc<Endpoint>>>,
    metrics: Arc<Metrics>,
}

impl Endpoints {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { known: Mutex::default(), metrics }
    }

    pub(super) fn at(&self, address: SocketAddr) -> Arc<Endpoint> {
        let mut known = lock(&self.known);
        let endpoint = known.entry(address).or_insert_with(|| {
            Arc::new(Endpoint {
                address,
                connect_slots: Semaphore::new(CONNECTS_AT_ONCE),
                health: Mutex::new(EndpointHealth::NEW),
                down_logged: AtomicBool::new(false),
                log_throttle: LogThrottle::default(),
                metrics: Arc::clone(&self.metrics),
            })
        });
        Arc::clone(endpoint)
    }

    /// Drops unused endpoints, 10,000 in a millisecond. Call it periodically.
    pub(super) fn sweep(&self, now: Instant) {
        let mut known = lock(&self.known);
        known.retain(|_, endpoint| !self.forget(endpoint, now));
        let in_use = known.len();
        known.shrink_to(2 * in_use);
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.known).len()
    }

    /// The map is locked, so no new use can start.
    fn forget(&self, endpoint: &Arc<Endpoint>, now: Instant) -> bool {
        let health = *lock(&endpoint.health);
        let forgotten = Arc::strong_count(endpoint) == 1 && health.is_forgettable(now);
        if forgotten && health.is_down() {
            self.metrics.upstream_forgotten();
        }
        forgotten
    }
}

impl Endpoint {
    pub(super) async fn connect_slot(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.connect_slots.acquire().await
    }

    pub(super) fn is_down(&self) -> bool {
        lock(&self.health).is_down()
    }

    pub(super) fn eligibility(&self, now: Instant) -> (Eligibility, Option<ProbeGuard<'_>>) {
        let eligibility = lock(&self.health).eligibility(now);
        (eligibility, (eligibility == Eligibility::Probe).then_some(ProbeGuard(self)))
    }

    pub(super) fn succeeded(&self) {
        if lock(&self.health).succeeded(Instant::now()) {
            self.metrics.upstream_up();
            if !self.down_logged.swap(false, Ordering::Relaxed) {
                return;
            }
            tracing::info!(upstream.address = %self.address, "an address of a broker answers again");
        }
    }

    pub(super) fn failed(&self, began: Instant, probe: bool, random: u64, why: &dyn Display) {
        let now = Instant::now();
        if lock(&self.health).failed(began, now, probe, random) {
            self.metrics.upstream_down();
            if !self.log_throttle.now(now) {
                return;
            }
            self.down_logged.store(true, Ordering::Relaxed);
            tracing::warn!(
                upstream.address = %self.address,
                "an address of a broker is down, and is tried after its others until it answers: {why}"
            );
        }
    }
}

/// A probe in progress, until dropped.
pub(super) struct ProbeGuard<'a>(&'a Endpoint);

impl Drop for ProbeGuard<'_> {
    fn drop(&mut self) {
        lock(&self.0.health).abandoned();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn nothing_is_kept_of_unused_addresses() {
        let endpoints = Endpoints::new(Arc::default());
        let start = Instant::now();
        let address = |n: u16| SocketAddr::from(([10, 0, 0, 1], n));
        let wanted = endpoints.at(address(1));
        let down = endpoints.at(address(2));
        down.failed(start, false, 0, &"refused");
        drop(down);
        (3..1000).for_each(|n| drop(endpoints.at(address(n))));
        assert_eq!(endpoints.len(), 999);
        endpoints.sweep(start + Duration::from_secs(30));
        assert_eq!(endpoints.len(), 2, "the one in use, and the one that is down");
        drop(wanted);
        endpoints.sweep(start + Duration::from_secs(90));
        assert_eq!(endpoints.len(), 0);
    }

    #[test]
    fn a_probe_that_ends_without_an_answer_leaves_it_to_the_next() {
        let endpoints = Endpoints::new(Arc::default());
        let start = Instant::now();
        let endpoint = endpoints.at(SocketAddr::from(([10, 0, 0, 1], 1)));
        endpoint.failed(start, false, 0, &"refused");
        let later = start + Duration::from_secs(2);
        let (eligibility, probe) = endpoint.eligibility(later);
        assert_eq!((eligibility, endpoint.eligibility(later).0), (Eligibility::Probe, Eligibility::AtLast));
        drop(probe);
        assert_eq!(endpoint.eligibility(later).0, Eligibility::Probe);
    }
}
