//! Carries out what changed: loads, swaps, applies it to live connections, and proves it.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use certward_lifecycle::{AssignedCertificate, ProofFailure};
use certward_store::{Deployment, DeploymentId, FeedPosition, Listed, ProofState, StoreError, TlsState};
use tokio::{
    sync::mpsc,
    task::{self, JoinSet},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{
        client_check::TrustStamp,
        deployment_config::{DeploymentConfig, Trust},
        loader::LoadedDeployment,
    },
    context::NodeContext,
    session::paced_closes::ClosePace,
    sync::{
        follower::Follower,
        host_warmup::Start,
        reporter::{log_failure, not_proven},
        schedule::{Ended, Schedule},
    },
};

/// Most of them wait for a permit, or for what the proof waits for.
const JOBS_AT_ONCE: usize = 256;
/// Bounds repeated proofs, so that devices reconnecting after a restart have the CPU.
const BACKGROUND_PROOFS_AT_ONCE: usize = 2;
/// Sessions that end at a rate are looked for again.
const CLOSING_POLL_MIN: Duration = Duration::from_millis(100);
const CLOSING_POLL_MAX: Duration = Duration::from_secs(1);

impl Follower {
    /// Runs until dropped. After the reports close it only checks live connections: those of a
    /// draining node must not outlast their trust.
    pub(crate) async fn run(self: Arc<Self>, start: Start) {
        let Start { after, mut schedule, mut listed } = start;
        self.progress.begin(after, schedule.wanted());
        let (changed, mut changes) = mpsc::channel(1);
        let feed = Arc::clone(&self).read_feed(after, changed);
        tokio::pin!(feed);
        let mut work = JoinSet::new();
        let mut worked_on: HashMap<task::Id, DeploymentId> = HashMap::new();
        // Cancels the proof of a replaced configuration.
        let mut overtaken: HashMap<DeploymentId, CancellationToken> = HashMap::new();
        let mut answers_again = Box::pin(self.lifecycle.store().answers_again());
        loop {
            while work.len() < JOBS_AT_ONCE {
                let next = schedule.next(Instant::now());
                let at_once = if self.reports.is_closed() { 0 } else { BACKGROUND_PROOFS_AT_ONCE };
                let next = next.or_else(|| Some((schedule.next_in_background(at_once)?, 0)));
                let Some((id, tries)) = next else { break };
                let follower = Arc::clone(&self);
                let (of, until) = (id.clone(), CancellationToken::new());
                overtaken.insert(id.clone(), until.clone());
                let handle = work.spawn(async move { follower.carry_out(&of, tries, until).await });
                worked_on.insert(handle.id(), id);
            }
            self.scheduled.store(schedule.len(), Ordering::Relaxed);
            let due = schedule.next_due();
            tokio::select! {
                biased;
                () = &mut feed => return,
                Some(ids) = changes.recv() => {
                    let ids: Vec<DeploymentId> = ids;
                    for id in ids {
                        overtaken.get(&id).map(CancellationToken::cancel);
                        schedule.want(id, Instant::now());
                    }
                }
                () = &mut answers_again => {
                    answers_again.set(self.lifecycle.store().answers_again());
                    schedule.hasten(Instant::now());
                }
                page = next_page(&mut listed) => {
                    page.into_iter().for_each(|listed| want(&mut schedule, listed));
                }
                Some(ended) = work.join_next_with_id() => {
                    // A panicked task counts as failed.
                    let (task, ended) = ended.unwrap_or_else(|error| (error.id(), Ended::Unread));
                    if let Some(id) = worked_on.remove(&task) {
                        overtaken.remove(&id);
                        schedule.done(id, ended, Instant::now());
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() && work.len() < JOBS_AT_ONCE => {}
            }
        }
    }

    pub(crate) fn scheduled(&self) -> usize {
        self.scheduled.load(Ordering::Relaxed)
    }

    /// Brings a deployment up to date, then proves it, until `overtaken`.
    async fn carry_out(&self, id: &DeploymentId, tries: u32, overtaken: CancellationToken) -> Ended {
        // The semaphores are never closed.
        let swap = self.permits.swaps.acquire().await;
        let wanted = self.progress.times_wanted(id);
        let LoadedDeployment { assignment, entry, as_of } = match self.context.loader.refresh(id).await {
            Ok(loaded) => loaded,
            Err(error) => {
                // An unreadable deployment is refused: nothing old is served, so the node may be
                // counted.
                if !matches!(error, StoreError::Unavailable(_)) {
                    self.progress.is_unreadable(id, wanted);
                }
                log_failure(id, tries, &format!("a change cannot be read: {error}"));
                return Ended::Unread;
            }
        };
        // After the swap: later connections see the new value.
        let changed = assignment.as_ref().map(|(deployment, _)| deployment);
        let rate = changed.map(|it| ClosePace { rate: it.close_rate, number: it.close_rate_number });
        self.context.paced_closes.follow(id, rate.unwrap_or_default()).await;
        match entry.trust() {
            Trust::Scope(scope, check) => {
                let stamp = TrustStamp::new(scope, check.map(Arc::as_ref));
                let revocations = entry.revocations().map(|revocations| revocations.get());
                self.context.registry.verify_outside(id, stamp, revocations).await;
            }
            // All fail, and wait for their turns.
            Trust::NoClient if rate.is_some() => self.context.registry.verify_all(id).await,
            Trust::NoClient => self.context.registry.close(id).await,
            Trust::Unknown => {}
        }
        self.progress.is_done(id, wanted);
        drop(swap);
        let spec = changed.map(|deployment| &deployment.spec);
        let age = spec.and_then(|spec| spec.max_session_age);
        self.context.session_ages.follow(id, age, self.context.began.elapsed());
        let revocations = entry.revocations().map(Arc::as_ref);
        self.context.stale_crls.follow(id, revocations, self.context.clock.now());
        self.context.broker_health.follow(id, spec);
        let Some((deployment, certificate)) = assignment else {
            self.context.failures.forget(id);
            return Ended::Well;
        };
        if deployment.tls == TlsState::Terminated
            && let Some(left) = self.time_to_close(id)
        {
            return Ended::Closing(left);
        }
        let proof = async {
            let _proof = self.permits.proofs.acquire().await;
            self.prove(&deployment, certificate.as_ref(), &entry, as_of, tries).await
        };
        tokio::select! {
            biased;
            () = self.reports.closed() => Ended::Well,
            () = overtaken.cancelled() => Ended::Well,
            well = proof => if well { Ended::Well } else { Ended::Unproven },
        }
    }

    /// `false`: retry.
    async fn prove(
        &self,
        deployment: &Deployment,
        certificate: Option<&AssignedCertificate>,
        entry: &DeploymentConfig,
        as_of: FeedPosition,
        tries: u32,
    ) -> bool {
        let began = Instant::now();
        let outcome = match certificate {
            Some(AssignedCertificate { newest, .. }) => match entry {
                DeploymentConfig::Served(served) => match &served.fallback {
                    None => self.prover.prove(deployment, newest).await,
                    Some(fallback) => Err(not_proven(Some(&fallback.reason))),
                },
                DeploymentConfig::Refused(refused) => Err(not_proven(refused.refusal.reason())),
            },
            None if deployment.tls == TlsState::Terminated => self.close_connections(&deployment.id).await,
            None => return true,
        };
        self.context.metrics.proven(outcome.is_ok(), began.elapsed());
        self.report(deployment, outcome, as_of, tries).await
    }

    /// Of sessions that end at a rate. `None`: none is left, or they end at once.
    fn time_to_close(&self, id: &DeploymentId) -> Option<Duration> {
        let NodeContext { paced_closes, registry, .. } = &*self.context;
        let is_closing = paced_closes.has(id) && registry.count(id) > 0;
        is_closing.then(|| paced_closes.left(id).clamp(CLOSING_POLL_MIN, CLOSING_POLL_MAX))
    }

    async fn close_connections(&self, id: &DeploymentId) -> Result<(), ProofFailure> {
        let deadline = Instant::now() + self.context.deadlines.close + Duration::from_secs(1);
        while self.context.registry.count(id) > 0 {
            if Instant::now() > deadline {
                return Err(not_proven(Some("connections are still being closed")));
            }
            // Repeated: a connection may have been registered since.
            self.context.registry.close(id).await;
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

/// At a start only unsettled deployments are urgent.
fn want(schedule: &mut Schedule, listed: Listed) {
    match listed.proof {
        ProofState::Absent => {}
        ProofState::Running => schedule.want_some_time(listed.id),
        ProofState::Unsettled => schedule.want(listed.id, Instant::now()),
    }
}

async fn next_page(listed: &mut Option<mpsc::Receiver<Vec<Listed>>>) -> Vec<Listed> {
    let page = match listed {
        Some(pages) => pages.recv().await,
        None => std::future::pending().await,
    };
    if page.is_none() {
        *listed = None;
    }
    page.unwrap_or_default()
}
