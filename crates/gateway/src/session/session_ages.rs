//! How long sessions may last: each ends in the last tenth of that time, evenly spread.

use std::{collections::HashMap, time::Duration};

use certward_store::{DeploymentId, SessionAge};
use parking_lot::Mutex;
use tokio::task::yield_now;

use crate::session::registry::{ConnectionSignal, Registry};

/// 2³² divided by the golden ratio: multiples of it, modulo 2³², lie evenly.
const GOLDEN: u64 = 2_654_435_769;
/// Sessions registered at once by several threads may be a second out of order.
const OUT_OF_ORDER: Duration = Duration::from_secs(2);

/// Of deployments with a limit; others cost nothing.
#[derive(Debug, Default)]
pub(crate) struct SessionAges(Mutex<HashMap<DeploymentId, AgeLimit>>);

#[derive(Debug, Clone, Copy)]
struct AgeLimit {
    age: SessionAge,
    /// Since the node knows it: after its start.
    since: Duration,
}

impl SessionAges {
    /// As the newest change has it. `uptime`: since the node's start.
    pub(crate) fn follow(&self, deployment: &DeploymentId, age: Option<SessionAge>, uptime: Duration) {
        let mut limits = self.0.lock();
        match age {
            Some(age) if limits.get(deployment).is_some_and(|limit| limit.age == age) => {}
            Some(age) => drop(limits.insert(deployment.clone(), AgeLimit { age, since: uptime })),
            None => drop(limits.remove(deployment)),
        }
    }

    /// Of a session that begins: no change may have been carried out since the start.
    pub(crate) fn note(&self, deployment: &DeploymentId, age: Option<SessionAge>, uptime: Duration) {
        if let Some(age) = age {
            let limit = AgeLimit { age, since: uptime };
            self.0.lock().entry(deployment.clone()).or_insert(limit);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Drops deployments without sessions.
    pub(crate) fn sweep(&self, registry: &Registry) {
        self.0.lock().retain(|deployment, _| registry.count(deployment) > 0);
    }

    /// Ends the sessions that are due, and returns how many. Call it every second.
    pub(crate) async fn end_due(&self, registry: &Registry, uptime: Duration) -> usize {
        let limits: Vec<_> = self.0.lock().iter().map(|(id, limit)| (id.clone(), *limit)).collect();
        let mut ended = 0;
        for (deployment, limit) in limits {
            let mut after = None;
            // A page under the lock; the oldest first, up to the first that is too young.
            while let Some(page) = registry.page_after(&deployment, after) {
                after = page.last().map(|(number, _)| *number);
                let old: Vec<_> =
                    page.iter().take_while(|(_, live)| limit.may_be_due(live.began, uptime)).collect();
                for (_, live) in old.iter().filter(|(number, live)| limit.is_due(*number, live.began, uptime))
                {
                    live.send(ConnectionSignal::Aged);
                    ended += 1;
                }
                if old.len() < page.len() {
                    break;
                }
                yield_now().await;
            }
        }
        ended
    }
}

impl AgeLimit {
    fn is_due(self, number: u64, began: u32, uptime: Duration) -> bool {
        self.due(number, began) <= uptime
    }

    /// In the last tenth of the age. If that was before the limit came, in the first tenth after.
    fn due(self, number: u64, began: u32) -> Duration {
        let began = Duration::from_secs(u64::from(began));
        let share =
            (number.wrapping_mul(GOLDEN) & u64::from(u32::MAX)) as f64 / (u64::from(u32::MAX) + 1) as f64;
        let spread = (self.age.get() / 10).mul_f64(share);
        let due = began + self.age.get() / 10 * 9 + spread;
        if due < self.since { self.since + spread } else { due }
    }

    fn may_be_due(self, began: u32, uptime: Duration) -> bool {
        Duration::from_secs(u64::from(began)) + self.age.get() / 10 * 9 <= uptime + OUT_OF_ORDER
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use certward_store::TrustScope;
    use futures_util::FutureExt;

    use super::*;
    use crate::config::client_check::TrustStamp;
    use crate::session::registry::{Entrant, Registration};

    const HOUR: u32 = 3_600;

    fn id() -> DeploymentId {
        DeploymentId::parse("d").unwrap()
    }

    fn age(seconds: u32) -> Option<SessionAge> {
        SessionAge::parse(seconds.into()).unwrap()
    }

    fn seconds(seconds: u32) -> Duration {
        Duration::from_secs(seconds.into())
    }

    fn registry() -> Arc<Registry> {
        Arc::new(Registry::new(Arc::default(), Arc::default()))
    }

    fn enter(registry: &Arc<Registry>, began: u32) -> Registration {
        registry
            .enter(id(), Entrant { stamp: TrustStamp::new(TrustScope([0; 16]), None), client: None, began })
    }

    fn has_aged(session: &Registration) -> bool {
        session.signal().now_or_never() == Some(ConnectionSignal::Aged)
    }

    #[tokio::test]
    async fn sessions_of_one_second_end_evenly_over_the_last_tenth_of_their_age() {
        for (limit, count) in
            [(10, 7_usize), (100, 1_000), (HOUR, 1), (HOUR, 500), (HOUR, 3_600), (HOUR, 10_000)]
        {
            let (ages, registry) = (SessionAges::default(), registry());
            ages.follow(&id(), age(limit), seconds(0));
            let mut sessions: Vec<_> = (0..count).map(|_| enter(&registry, 1_000)).collect();
            let (first, last) = (1_000 + limit / 10 * 9, 1_000 + limit);
            assert_eq!(ages.end_due(&registry, seconds(first) - Duration::from_millis(1)).await, 0, "early");
            let mut by_second = Vec::new();
            for uptime in first..=last {
                ages.end_due(&registry, seconds(uptime)).await;
                let before = sessions.len();
                sessions.retain(|session| !has_aged(session));
                by_second.push(before - sessions.len());
            }
            assert_eq!(sessions.len(), 0, "all have reached {limit} s");
            // Three distances (Steinhaus): the numbers in an interval differ by few from its share.
            let share = (10_usize * count).div_ceil(limit as usize);
            let most = by_second.iter().max().copied().unwrap_or_default();
            assert!(most <= share + 2, "{most} in a second, {share} is the share of {count} in {limit} s");
        }
    }

    #[tokio::test]
    async fn those_that_are_older_than_a_new_limit_end_over_a_tenth_of_it() {
        let (ages, registry) = (SessionAges::default(), registry());
        let mut sessions: Vec<_> = (0..1_000).map(|_| enter(&registry, 5)).collect();
        let young = enter(&registry, 9_900);
        // After 10,000 seconds, for a limit of 1,000.
        ages.follow(&id(), age(1_000), seconds(10_000));
        let mut by_second = Vec::new();
        for uptime in 9_999..=10_101 {
            ages.end_due(&registry, seconds(uptime)).await;
            by_second.push(sessions.extract_if(.., |session| has_aged(session)).count());
        }
        assert_eq!(by_second.iter().sum::<usize>(), 1_000);
        assert_eq!(by_second[0], 0, "none before the limit came");
        assert!(by_second.iter().all(|ended| *ended <= 12), "{by_second:?}");
        assert!(!has_aged(&young));
        // Another change of the deployment leaves the limit, and does not begin it again.
        ages.follow(&id(), age(1_000), seconds(10_050));
        assert_eq!(ages.0.lock()[&id()].since, seconds(10_000));
        ages.follow(&id(), None, seconds(10_060));
        assert_eq!((ages.len(), ages.end_due(&registry, seconds(u32::MAX)).await), (0, 0));
    }

    #[tokio::test]
    async fn a_session_that_begins_brings_the_limit_and_a_change_overrules_it() {
        let (ages, registry) = (SessionAges::default(), registry());
        ages.note(&id(), None, seconds(1));
        assert_eq!(ages.len(), 0);
        ages.note(&id(), age(1_000), seconds(1));
        ages.follow(&id(), age(2_000), seconds(2));
        // By a configuration from before the change.
        ages.note(&id(), age(1_000), seconds(3));
        assert_eq!(ages.0.lock()[&id()].age, age(2_000).unwrap());
        let session = enter(&registry, 3);
        ages.sweep(&registry);
        assert_eq!(ages.len(), 1);
        drop(session);
        ages.sweep(&registry);
        assert_eq!(ages.len(), 0);
    }

    /// `cargo test -p certward-gateway cost_of_ages -- --nocapture`
    #[tokio::test]
    async fn cost_of_ages_of_100_000_sessions() {
        let (ages, registry) = (SessionAges::default(), registry());
        let sessions: Vec<_> = (0..100_000).map(|_| enter(&registry, 0)).collect();
        let timed = async |what: &str, uptime: u32| {
            let began = std::time::Instant::now();
            let ended = ages.end_due(&registry, seconds(uptime)).await;
            println!("{what}: {ended} ended in {:?}", began.elapsed());
            ended
        };
        assert_eq!(timed("no limit", 10 * HOUR).await, 0);
        ages.follow(&id(), age(10 * HOUR), seconds(0));
        assert_eq!(timed("all young", 8 * HOUR).await, 0);
        let first = timed("all in their last tenth", 9 * HOUR + 1).await;
        assert!((25..=60).contains(&first), "{first}");
        assert_eq!(timed("all due", 10 * HOUR).await, sessions.len());
    }
}
