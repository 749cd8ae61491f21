//! Sessions that lost trust by a change with a rate: each goes on until its turn.
//!
//! Sessions verify themselves at once, and those that fail wait here. At its turn one verifies
//! again, so that one that is trusted again stays. A change without a rate is the turn of all.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
    time::Duration,
};

use certward_store::{CloseRate, DeploymentId};
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    task::yield_now,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    observe::reason::ClosedReason,
    session::registry::{ConnectionHandle, ConnectionSignal, SIGNALS_PER_YIELD},
};

const TURNS_INTERVAL: Duration = Duration::from_millis(100);
/// Sessions verify themselves in less. Afterwards the change is carried out, and its rate with it.
const QUIET_FOR: Duration = Duration::from_secs(10);
/// In which a change may be carried out again, and its sessions may still verify themselves.
const SETTLES_IN: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(crate) struct PacedCloses {
    paces: Mutex<HashMap<DeploymentId, DeploymentPace>>,
    begun: Notify,
}

/// How a deployment's newest change ends sessions.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ClosePace {
    /// `None`: all that wait have their turn now.
    pub(crate) rate: Option<CloseRate>,
    /// Another one: the change has set the rate. Else it is an earlier one's, and sessions that
    /// lose trust now end now.
    pub(crate) number: i64,
}

#[derive(Debug)]
struct WaitingSession {
    live: Weak<ConnectionHandle>,
    reason: ClosedReason,
}

#[derive(Debug)]
struct DeploymentPace {
    /// See [`ClosePace`].
    number: i64,
    set_at: Instant,
    /// Whether further sessions wait.
    takes_more: bool,
    /// Between two turns.
    interval: Duration,
    next_turn: Instant,
    /// By the number of the session: the oldest first, and each once.
    waiting: BTreeMap<u64, WaitingSession>,
    /// Since none waits.
    quiet_since: Instant,
}

impl PacedCloses {
    /// Before the sessions are signalled.
    pub(crate) async fn follow(&self, deployment: &DeploymentId, pace: ClosePace) {
        match pace.rate {
            Some(rate) => self.pace(deployment, rate, pace.number, Instant::now()),
            None => {
                let ended = self.paces.lock().remove(deployment);
                let waiting = ended.map(|pace| pace.waiting).unwrap_or_default();
                signal(waiting.into_values().filter_map(|session| session.live.upgrade())).await;
            }
        }
    }

    fn pace(&self, deployment: &DeploymentId, rate: CloseRate, number: i64, now: Instant) {
        let mut paces = self.paces.lock();
        let pace = paces.entry(deployment.clone()).or_insert_with(|| DeploymentPace::new(number, now));
        if pace.number == number {
            pace.takes_more = now.saturating_duration_since(pace.set_at) < SETTLES_IN;
        } else {
            (pace.number, pace.set_at, pace.takes_more) = (number, now, true);
        }
        // Rounded up: never more in a second.
        let nanos = Duration::from_secs(1).as_nanos().div_ceil(u128::from(rate.get()));
        pace.interval = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        // After a slower rate.
        pace.next_turn = pace.next_turn.min(now + pace.interval);
        pace.quiet_since = now;
        drop(paces);
        self.begun.notify_one();
    }

    /// Whether sessions of the deployment may wait.
    pub(crate) fn has(&self, deployment: &DeploymentId) -> bool {
        self.paces.lock().contains_key(deployment)
    }

    /// Until the last that waits has its turn. Zero if none waits.
    pub(crate) fn left(&self, deployment: &DeploymentId) -> Duration {
        let paces = self.paces.lock();
        let left = paces.get(deployment).map(|pace| {
            let waiting = u32::try_from(pace.waiting.len()).unwrap_or(u32::MAX);
            pace.interval.saturating_mul(waiting)
        });
        left.unwrap_or_default()
    }

    /// `false`: the session must end now, for this reason.
    pub(crate) fn wait(
        &self,
        deployment: &DeploymentId,
        number: u64,
        live: &Arc<ConnectionHandle>,
        reason: ClosedReason,
    ) -> bool {
        match self.paces.lock().get_mut(deployment) {
            Some(pace) if pace.takes_more || pace.has(number, reason) => {
                let live = Arc::downgrade(live);
                pace.wait(number, WaitingSession { live, reason }, Instant::now());
                true
            }
            _ => false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.paces.lock().values().map(|pace| pace.waiting.len()).sum()
    }

    /// Gives turns until dropped.
    pub(crate) async fn run(&self) {
        loop {
            self.begun.notified().await;
            let mut ticks = interval(TURNS_INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !self.paces.lock().is_empty() {
                ticks.tick().await;
                signal(self.turns(Instant::now())).await;
            }
        }
    }

    fn turns(&self, now: Instant) -> Vec<Arc<ConnectionHandle>> {
        let mut paces = self.paces.lock();
        paces.retain(|_, pace| !pace.is_over(now));
        paces.values_mut().flat_map(|pace| pace.turns(now)).collect()
    }
}

async fn signal(sessions: impl IntoIterator<Item = Arc<ConnectionHandle>>) {
    for (count, live) in sessions.into_iter().enumerate() {
        if count > 0 && count.is_multiple_of(SIGNALS_PER_YIELD) {
            yield_now().await;
        }
        live.send(ConnectionSignal::Turn);
    }
}

impl DeploymentPace {
    fn new(number: i64, now: Instant) -> Self {
        Self {
            number,
            set_at: now,
            takes_more: true,
            interval: Duration::ZERO,
            next_turn: now,
            waiting: BTreeMap::new(),
            quiet_since: now,
        }
    }

    fn has(&self, number: u64, reason: ClosedReason) -> bool {
        self.waiting.get(&number).is_some_and(|session| session.reason == reason)
    }

    fn wait(&mut self, number: u64, session: WaitingSession, now: Instant) {
        if self.waiting.is_empty() {
            self.next_turn = self.next_turn.max(now);
        }
        self.waiting.insert(number, session);
        self.quiet_since = now;
    }

    fn turns(&mut self, now: Instant) -> Vec<Arc<ConnectionHandle>> {
        // A late call does not catch up: no second has more turns than its share.
        let on_time = now.checked_sub(TURNS_INTERVAL * 2);
        self.next_turn = on_time.map_or(self.next_turn, |on_time| self.next_turn.max(on_time));
        let mut turns = Vec::new();
        while self.next_turn <= now
            && let Some((_, session)) = self.waiting.pop_first()
        {
            self.quiet_since = now;
            // One that has ended takes no turn.
            if let Some(live) = session.live.upgrade() {
                self.next_turn += self.interval;
                turns.push(live);
            }
        }
        turns
    }

    fn is_over(&self, now: Instant) -> bool {
        self.waiting.is_empty() && now.saturating_duration_since(self.quiet_since) > QUIET_FOR
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use certward_store::TrustScope;
    use futures_util::FutureExt;
    use tokio::time::{advance, sleep};

    use super::*;
    use crate::config::client_check::TrustStamp;
    use crate::session::registry::{Entrant, Registration, Registry};

    const D: &str = "d";

    struct Stage {
        closes: Arc<PacedCloses>,
        registry: Arc<Registry>,
        set: Cell<i64>,
    }

    impl Stage {
        fn new() -> Self {
            let registry = Arc::new(Registry::new(Arc::default(), Arc::default()));
            Self { closes: Arc::default(), registry, set: Cell::new(0) }
        }

        fn sessions(&self, count: usize) -> Vec<Registration> {
            let entrant =
                || Entrant { stamp: TrustStamp::new(TrustScope([0; 16]), None), client: None, began: 0 };
            (0..count).map(|_| self.registry.enter(id(), entrant())).collect()
        }

        fn wait(&self, session: &Registration) -> bool {
            self.wait_as(session, ClosedReason::Untrusted)
        }

        fn wait_as(&self, session: &Registration, reason: ClosedReason) -> bool {
            self.closes.wait(&id(), session.number(), session.handle(), reason)
        }

        /// Of a change that sets it.
        fn pace(&self, rate: Option<CloseRate>) -> ClosePace {
            self.set.set(self.set.get() + 1);
            ClosePace { rate, number: self.set.get() }
        }
    }

    fn id() -> DeploymentId {
        DeploymentId::parse(D).unwrap()
    }

    fn rate(per_second: i64) -> Option<CloseRate> {
        CloseRate::parse(per_second).unwrap()
    }

    fn turns(sessions: &[Registration]) -> usize {
        let had = |session: &&Registration| session.signal().now_or_never() == Some(ConnectionSignal::Turn);
        sessions.iter().filter(had).count()
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_spread_evenly_and_the_oldest_come_first() {
        for (per_second, count) in
            [(1, 5), (3, 20), (7, 50), (50, 1_250), (1_000, 2_500), (1_000_000, 30_000)]
        {
            let stage = Stage::new();
            let sessions = stage.sessions(count);
            stage.closes.follow(&id(), stage.pace(rate(per_second))).await;
            assert!(sessions.iter().rev().all(|session| stage.wait(session)));
            assert!(stage.wait(&sessions[0]), "it waits once");
            let share = usize::try_from(per_second).unwrap();
            assert_eq!(stage.closes.len(), count);
            assert!(stage.closes.left(&id()).as_secs_f64() <= count as f64 / per_second as f64 + 0.001);
            let running = Arc::clone(&stage.closes);
            let running = tokio::spawn(async move { running.run().await });
            // Tenths of seconds, as the turns are given.
            let mut by_tenth = Vec::new();
            let mut done = 0;
            sleep(Duration::from_millis(50)).await;
            while done < count {
                let now = turns(&sessions);
                by_tenth.push(now);
                done += now;
                if done < count && per_second < 1_000 {
                    assert_eq!(sessions[done].signal().now_or_never(), None, "by number");
                }
                sleep(Duration::from_millis(100)).await;
            }
            assert!(by_tenth.windows(10).all(|second| second.iter().sum::<usize>() <= share), "{by_tenth:?}");
            let seconds = by_tenth.len() as f64 / 10.0;
            let expected = count as f64 / per_second as f64;
            assert!(seconds <= expected + 0.4, "{count} at {per_second}: {seconds} s, {expected} s wanted");
            assert_eq!(stage.closes.left(&id()), Duration::ZERO);
            running.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_without_a_rate_is_the_turn_of_all_and_another_rate_holds_from_then_on() {
        let stage = Stage::new();
        let sessions = stage.sessions(100);
        stage.closes.follow(&id(), stage.pace(rate(1))).await;
        assert!(sessions.iter().all(|session| stage.wait(session)));
        let running = Arc::clone(&stage.closes);
        tokio::spawn(async move { running.run().await });
        sleep(Duration::from_millis(2_050)).await;
        assert_eq!(turns(&sessions), 3);
        stage.closes.follow(&id(), stage.pace(rate(20))).await;
        sleep(Duration::from_secs(1)).await;
        let second = turns(&sessions);
        assert!((19..=20).contains(&second), "{second}");
        stage.closes.follow(&id(), stage.pace(None)).await;
        assert_eq!(turns(&sessions), 100 - 3 - second);
        assert!(!stage.wait(&sessions[0]), "one that fails now ends now");
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_that_ended_take_no_turn_and_a_rate_ends_with_its_change() {
        let stage = Stage::new();
        let mut sessions = stage.sessions(100);
        stage.closes.follow(&id(), stage.pace(rate(10))).await;
        assert!(sessions.iter().all(|session| stage.wait(session)));
        sessions.drain(..90);
        let running = Arc::clone(&stage.closes);
        tokio::spawn(async move { running.run().await });
        sleep(Duration::from_millis(1_050)).await;
        assert_eq!(turns(&sessions), 10);
        assert!(stage.closes.has(&id()));
        sleep(QUIET_FOR + Duration::from_millis(200)).await;
        assert!(!stage.closes.has(&id()) && !stage.wait(&sessions[0]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_change_that_leaves_the_rate_ends_its_own_sessions_at_once_and_no_other() {
        let stage = Stage::new();
        let sessions = stage.sessions(30);
        let pace = stage.pace(rate(1));
        stage.closes.follow(&id(), pace).await;
        assert!(sessions[..20].iter().all(|session| stage.wait(session)));
        // Carried out again: some may not have verified themselves yet.
        stage.closes.follow(&id(), pace).await;
        assert!(stage.wait(&sessions[20]));
        advance(SETTLES_IN).await;
        stage.closes.follow(&id(), pace).await;
        assert!(!stage.wait_as(&sessions[25], ClosedReason::Revoked), "revoked without a rate");
        assert!(!stage.wait_as(&sessions[3], ClosedReason::Revoked), "though it waits for another reason");
        assert!(stage.wait(&sessions[4]), "it keeps its turn");
        // The next one sets a rate for revoked sessions, too.
        stage.closes.follow(&id(), stage.pace(rate(2))).await;
        assert!(stage.wait_as(&sessions[25], ClosedReason::Revoked));
        assert_eq!(stage.closes.len(), 22);
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_call_does_not_catch_up() {
        let stage = Stage::new();
        let sessions = stage.sessions(100);
        stage.closes.follow(&id(), stage.pace(rate(10))).await;
        assert!(sessions.iter().all(|session| stage.wait(session)));
        advance(Duration::from_secs(5)).await;
        assert_eq!(stage.closes.turns(Instant::now()).len(), 3);
        assert_eq!(stage.closes.turns(Instant::now()).len(), 0);
    }
}
