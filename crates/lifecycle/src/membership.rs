use std::{collections::BTreeSet, time::Duration};

use certward_store::{
    AuditEntry, AuditOrigin, Deployment, DeploymentId, FeedPosition, Generation, NodeId, Session, StoreError,
    TlsState, Tx,
};

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::{Lifecycle, Pace, ProofFailure, periodically, state};

/// A node in a session of its membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The node.
    pub id: NodeId,
    /// Of its last join or withdrawal.
    pub session: Session,
}

/// What a node loaded, and reports on.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// The deployment.
    pub id: &'a DeploymentId,
    /// Its generation.
    pub generation: Generation,
    /// The newest feed row read with it.
    pub as_of: FeedPosition,
}

/// The result of a withdrawal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawal {
    /// The previous version may be served.
    Done,
    /// The previous version may be served until the node joins.
    NotCounted,
    /// The deployment or the history changed.
    Outdated,
    /// Another process has the node, or it joined again.
    AnotherSession,
}

const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Changes named that go on without a lost node.
const LEFT_OUT_LOGGED: usize = 20;
/// Changes failed per sweep.
const OVERDUE_BATCH: u32 = 100;

impl Lifecycle {
    /// Begins a node's process. A counted node stays counted, but must prove again; earlier reports
    /// are void.
    pub async fn register(&self, node: &NodeId, session: Session) -> Result<(), StoreError> {
        let mut tx = self.store.begin_as_member().await?;
        tx.hold_nodes().await?;
        tx.set_session(node, session).await?;
        tx.forget_proofs(node).await?;
        tx.commit().await
    }

    /// Counts the node until its lease expires; renew every third of
    /// [`crate::LifecycleSettings::lease`]. Unsettled changes wait for its proof, with a new
    /// deadline; see [`certward_store::Reader::unproven`].
    ///
    /// Holds all changes, for a second at most, while `is_carried_out` checks that the newest row
    /// is carried out. If not: `false`, nothing done.
    ///
    /// # Errors
    /// [`StoreError`]. The node may be counted then; join again.
    pub async fn join<F>(
        &self,
        node: &NodeId,
        session: Session,
        is_carried_out: impl FnOnce(FeedPosition) -> F,
    ) -> Result<bool, StoreError>
    where
        F: Future<Output = bool>,
    {
        let mut tx = self.store.begin_as_member().await?;
        let newest = tx.hold_changes().await?;
        if !is_carried_out(newest).await {
            return Ok(false);
        }
        let now = tx.now();
        tx.join(node, session, now.after(self.settings.lease)).await?;
        tx.extend_deadlines(now.after(self.settings.prove_within)).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Renews a lease. `false`: not counted, or another process has the node.
    pub async fn renew(&self, node: &NodeId, session: Session) -> Result<bool, StoreError> {
        self.store.renew_lease(node, session, self.settings.lease).await
    }

    /// Stops counting a node that drains or has another history. Void from an earlier session.
    pub async fn leave(&self, node: &NodeId, session: Session) -> Result<(), StoreError> {
        let mut tx = self.store.begin_as_member().await?;
        tx.hold_nodes().await?;
        let waited = tx.leave(node, session).await?;
        let proven = settle_all(&mut tx, waited).await?;
        tx.commit().await?;
        self.metrics.running(proven);
        Ok(())
    }

    /// A process without gateway begins: its node is not counted.
    pub async fn retire(&self, node: &NodeId) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        tx.hold_nodes().await?;
        let Some(session) = tx.session(node).await? else { return Ok(()) };
        let waited = tx.leave(node, session).await?;
        let proven = settle_all(&mut tx, waited).await?;
        tx.commit().await?;
        self.metrics.running(proven);
        Ok(())
    }

    /// Permits the previous version where the newest is unservable. Must precede serving it, so
    /// that each counted node serves what is `running`: that becomes `failed` and counts all nodes
    /// again. Session `fresh` voids reports in progress.
    pub async fn withdraw(
        &self,
        node: &Member,
        fresh: Session,
        loaded: &Observation<'_>,
        reason: &str,
    ) -> Result<Withdrawal, StoreError> {
        let mut tx = self.store.begin_as_member().await?;
        tx.hold_nodes().await?;
        match tx.session(&node.id).await? {
            None => return Ok(Withdrawal::NotCounted),
            Some(session) if session != node.session => return Ok(Withdrawal::AnotherSession),
            Some(_) => {}
        }
        let deployment = tx.deployment(loaded.id).await?;
        let same = deployment.filter(|found| found.generation == loaded.generation);
        let Some(deployment) = same else { return Ok(Withdrawal::Outdated) };
        if !tx.has(loaded.as_of).await? {
            return Ok(Withdrawal::Outdated);
        }
        tx.set_session(&node.id, fresh).await?;
        if let Some(next) = state::withdrawn(&deployment.tls, &node.id, reason) {
            // A change of its own: every node proves it again.
            let generation = tx.draw_generation(loaded.id).await?;
            tx.count_nodes(loaded.id).await?;
            transition(&mut tx, &Deployment { generation, ..deployment }, &next).await?;
        } else {
            tx.forget_proof(loaded.id, &node.id).await?;
        }
        tx.record_proof(loaded.id, &node.id, Err(reason.to_owned())).await?;
        tx.commit().await?;
        Ok(Withdrawal::Done)
    }

    /// Takes a node's proof or failure; for a deletion, that its connections are closed. The last
    /// proof makes the change `running`. Older generations are ignored. `false`: void, of an old
    /// session or another history.
    pub async fn report(
        &self,
        node: &Member,
        loaded: &Observation<'_>,
        proof: Result<(), ProofFailure>,
    ) -> Result<bool, StoreError> {
        let Observation { id, generation, as_of } = *loaded;
        // Most reports change nothing: they must not take the writer.
        let wanted = |deployment: &Deployment| {
            deployment.generation == generation
                && !matches!(deployment.tls, TlsState::Absent | TlsState::Running { .. })
        };
        match self.store.read().deployment(id).await? {
            Some(deployment) if wanted(&deployment) => {}
            Some(deployment) => {
                warn_if_unproven(&node.id, &deployment, generation, &proof);
                return Ok(true);
            }
            None => return Ok(true),
        }
        let mut tx = self.store.begin().await?;
        // Also locks the nodes, and so the session.
        let Some(deployment) = tx.deployment(id).await?.filter(wanted) else { return Ok(true) };
        if tx.session(&node.id).await? != Some(node.session) || !tx.has(as_of).await? {
            return Ok(false);
        }
        let note = match &proof {
            Ok(()) => Ok(generation),
            Err(ProofFailure::NoEntryPoint(reason)) => Err(format!("there is no way in: {reason}")),
            Err(ProofFailure::NotProven(reason)) => Err(reason.clone()),
        };
        tx.record_proof(id, &node.id, note).await?;
        let proven = match proof {
            Ok(()) => settle(&mut tx, &deployment).await?,
            Err(failure) => match state::failed(&deployment.tls, &node.id, &failure) {
                Some(next) => transition(&mut tx, &deployment, &next).await?,
                None => None,
            },
        };
        tx.commit().await?;
        self.metrics.running(proven);
        Ok(true)
    }

    /// Sweeps until `shutdown`. A node without a gateway is named: its previous process may have
    /// had one, and no change may wait for it.
    pub async fn keep_swept(&self, without_gateway: Option<&NodeId>, shutdown: CancellationToken) {
        let what = "leases and deadlines cannot be checked";
        let retired = OnceCell::new();
        let sweep = || async {
            if let Some(node) = without_gateway {
                retired.get_or_try_init(|| self.retire(node)).await?;
            }
            self.sweep().await
        };
        periodically(what, Pace::Later(SWEEP_INTERVAL), &self.store, shutdown, sweep).await;
    }

    /// Ends expired leases and fails overdue changes; called every second on each node.
    ///
    /// No deadlock on PostgreSQL: row locks come after the nodes' lock, taken shared (`lock.rs` of
    /// the store). While the first loop has it exclusively, no row is locked. The second locks
    /// rows, longest overdue first, and waits for nothing that the holder of the next row waits
    /// for.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        let mut waited = BTreeSet::new();
        for (node, deployments) in tx.end_expired().await? {
            log_lost(&node, &deployments);
            waited.extend(deployments);
        }
        // After all expired nodes: else the proof of one could be the last missing one.
        let proven = settle_all(&mut tx, waited).await?;
        for id in tx.overdue(OVERDUE_BATCH).await? {
            let Some(deployment) = tx.deployment(&id).await? else { continue };
            let counts = tx.counts(&id).await?;
            let now = tx.now();
            if let Some(next) = state::overdue(&deployment.tls, deployment.generation, &counts, now) {
                transition(&mut tx, &deployment, &next).await?;
            }
        }
        tx.commit().await?;
        self.metrics.running(proven);
        Ok(())
    }
}

/// Each change that goes on without it by name, up to a bound.
fn log_lost(node: &NodeId, left_out_of: &[DeploymentId]) {
    let changes = left_out_of.len();
    tracing::warn!(
        node.id = %node, changes,
        "a node is lost: it has not renewed its lease, and changes do not wait for it any more; see certward nodes"
    );
    for id in left_out_of.iter().take(LEFT_OUT_LOGGED) {
        tracing::warn!(deployment.id = %id, node.id = %node, "a lost node is left out of a change");
    }
}

/// For each upload proven for the first time: how long ago it was accepted.
async fn settle_all(
    tx: &mut Tx,
    ids: impl IntoIterator<Item = DeploymentId>,
) -> Result<Vec<Duration>, StoreError> {
    let mut proven = Vec::new();
    for id in ids {
        if let Some(deployment) = tx.deployment(&id).await? {
            proven.extend(settle(tx, &deployment).await?);
        }
    }
    Ok(proven)
}

async fn settle(tx: &mut Tx, deployment: &Deployment) -> Result<Option<Duration>, StoreError> {
    let counts = tx.counts(&deployment.id).await?;
    match state::settled(&deployment.tls, deployment.generation, &counts) {
        Some(next) => transition(tx, deployment, &next).await,
        None => Ok(None),
    }
}

/// Audits a transition caused by time or nodes. For an upload proven for the first time: how long
/// ago it was accepted.
async fn transition(
    tx: &mut Tx,
    deployment: &Deployment,
    next: &TlsState,
) -> Result<Option<Duration>, StoreError> {
    let id = &deployment.id;
    tx.set_tls(id, deployment.generation, next).await?;
    let mut proven = None;
    let (action, detail) = match next {
        TlsState::Running { version } => {
            let accepted_at = tx.mark_proven(id, *version).await?;
            proven = accepted_at.map(|at| tx.now().since(at));
            ("tls.running", format!("version {version}"))
        }
        TlsState::Failed { version, reason } => {
            tracing::warn!(deployment.id = %id, reason, "a certificate is not proven");
            ("tls.failed", format!("version {version}: {reason}"))
        }
        TlsState::Absent => ("tls.deleted", "every node has let go".to_owned()),
        TlsState::Pending { .. } | TlsState::Terminated => return Ok(None),
    };
    tx.audit(AuditEntry {
        detail,
        project: Some(deployment.project.clone()),
        deployment: Some(id.clone()),
        ..AuditEntry::new(AuditOrigin::certward(), action, id.as_str())
    });
    Ok(proven)
}

/// It stays `running`; the node retries.
fn warn_if_unproven(
    node: &NodeId,
    deployment: &Deployment,
    generation: Generation,
    proof: &Result<(), ProofFailure>,
) {
    let running = matches!(deployment.tls, TlsState::Running { .. }) && deployment.generation == generation;
    if let (true, Err(failure)) = (running, proof) {
        tracing::warn!(deployment.id = %deployment.id, node.id = %node, ?failure, "a running certificate could not be proven again");
    }
}
