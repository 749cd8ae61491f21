//! When client certificates of live sessions end, for `expired_sessions = "close"`.

use std::collections::HashMap;

use certward_store::{DeploymentId, Timestamp};
use parking_lot::Mutex;
use tokio::task::yield_now;

use crate::{
    ExpiredSessions,
    session::registry::{ConnectionSignal, Registry},
};

/// The earliest end of each deployment with such sessions: nothing is searched before.
#[derive(Debug)]
pub(crate) struct ClientEnds {
    setting: ExpiredSessions,
    earliest: Mutex<HashMap<DeploymentId, i64>>,
}

impl ClientEnds {
    pub(crate) fn new(setting: ExpiredSessions) -> Self {
        Self { setting, earliest: Mutex::default() }
    }

    /// Of a session that is registered. `not_after`: the last valid second, since 1970.
    pub(crate) fn note(&self, deployment: &DeploymentId, not_after: Option<i64>) {
        if let (ExpiredSessions::Close, Some(not_after)) = (self.setting, not_after) {
            let mut earliest = self.earliest.lock();
            let first = earliest.entry(deployment.clone()).or_insert(not_after);
            *first = not_after.min(*first);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.earliest.lock().len()
    }

    /// Drops deployments without sessions.
    pub(crate) fn sweep(&self, registry: &Registry) {
        self.earliest.lock().retain(|deployment, _| registry.count(deployment) > 0);
    }

    /// Has the sessions whose certificates have ended verify themselves; returns how many. Call it
    /// every second.
    pub(crate) async fn verify_ended(&self, registry: &Registry, now: Timestamp) -> usize {
        let now = now.to_time().unix_timestamp();
        let has_ended = |not_after: i64| not_after < now;
        // Taken out first: a session that registers in between notes its own.
        let due: Vec<_> = self.earliest.lock().extract_if(|_, not_after| has_ended(*not_after)).collect();
        let mut ended = 0;
        for (deployment, _) in due {
            let mut after = None;
            while let Some(page) = registry.page_after(&deployment, after) {
                after = page.last().map(|(number, _)| *number);
                let mut later = None;
                for (live, not_after) in
                    page.iter().filter_map(|(_, live)| Some((live, live.client.as_ref()?.not_after)))
                {
                    if has_ended(not_after) {
                        live.send(ConnectionSignal::Expired);
                        ended += 1;
                    } else {
                        later = Some(later.map_or(not_after, |later: i64| later.min(not_after)));
                    }
                }
                self.note(&deployment, later);
                yield_now().await;
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use certward_store::TrustScope;
    use futures_util::FutureExt;

    use super::*;
    use crate::config::client_check::TrustStamp;
    use crate::session::{
        client_facts::ClientFacts,
        registry::{Entrant, Registration},
    };

    fn id(text: &str) -> DeploymentId {
        DeploymentId::parse(text).unwrap()
    }

    struct Stage {
        ends: ClientEnds,
        registry: Arc<Registry>,
    }

    impl Stage {
        fn new(setting: ExpiredSessions) -> Self {
            let registry = Arc::new(Registry::new(Arc::default(), Arc::default()));
            Self { ends: ClientEnds::new(setting), registry }
        }

        fn enter(&self, deployment: &str, not_after: Option<i64>) -> Registration {
            let client = not_after.map(|not_after| Box::new(ClientFacts { keys: None, not_after }));
            let entrant = Entrant { stamp: TrustStamp::new(TrustScope([0; 16]), None), client, began: 0 };
            let session = self.registry.enter(id(deployment), entrant);
            self.ends.note(session.deployment(), not_after);
            session
        }

        async fn verify_at(&self, seconds: i64) -> usize {
            self.ends.verify_ended(&self.registry, Timestamp(seconds * 1000)).await
        }
    }

    fn is_asked(session: &Registration) -> bool {
        session.signal().now_or_never() == Some(ConnectionSignal::Expired)
    }

    #[tokio::test]
    async fn exactly_those_whose_certificates_have_ended_verify_themselves() {
        let stage = Stage::new(ExpiredSessions::Close);
        let [soon, later, late] = [100, 200, 300].map(|end| stage.enter("a", Some(end)));
        let [one_way, other] = [None, Some(250)].map(|end| stage.enter("b", end));
        assert_eq!(stage.verify_at(100).await, 0, "the last second is valid");
        assert_eq!(stage.verify_at(101).await, 1);
        assert_eq!(
            [&soon, &later, &late, &one_way, &other].map(is_asked),
            [true, false, false, false, false]
        );
        assert_eq!(stage.verify_at(199).await, 0);
        let just_connected = stage.enter("a", Some(210));
        drop(late);
        assert_eq!(stage.verify_at(260).await, 4, "with the first, which has not ended yet");
        assert_eq!([&later, &just_connected, &other].map(is_asked), [true; 3]);
        assert_eq!((stage.verify_at(1_000).await, stage.ends.len()), (0, 0));
    }

    #[tokio::test]
    async fn nothing_is_kept_of_sessions_without_an_end_or_where_they_go_on() {
        let stage = Stage::new(ExpiredSessions::Close);
        let sessions = [stage.enter("a", None), stage.enter("b", Some(7))];
        stage.ends.sweep(&stage.registry);
        assert_eq!(stage.ends.len(), 1);
        drop(sessions);
        stage.ends.sweep(&stage.registry);
        assert_eq!(stage.ends.len(), 0);
        let keeps = Stage::new(ExpiredSessions::Keep);
        let session = keeps.enter("a", Some(7));
        assert_eq!((keeps.verify_at(100).await, keeps.ends.len(), is_asked(&session)), (0, 0, false));
    }

    /// `cargo test -p certward-gateway cost_of_ends -- --nocapture`
    #[tokio::test]
    async fn cost_of_ends_of_100_000_sessions() {
        let stage = Stage::new(ExpiredSessions::Close);
        let _sessions: Vec<_> = (0..100_000).map(|n| stage.enter("a", Some(1_000 + n % 2))).collect();
        for (what, at, ended) in [("none has ended", 1_000, 0), ("half have ended", 1_001, 50_000)] {
            let began = std::time::Instant::now();
            assert_eq!(stage.verify_at(at).await, ended);
            println!("{what}: {:?}", began.elapsed());
        }
    }
}
