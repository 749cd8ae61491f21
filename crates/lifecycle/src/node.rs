use std::collections::BTreeSet;

use certward_pki::{Bundle, ClientTrust, Material, TlsType};
use certward_store::{
    AuditEntry, Deployment, DeploymentId, FeedPosition, Generation, NodeId, Records, Session, StoreError,
    TlsState, Tx, Version,
};
use thiserror::Error;

use crate::{Lifecycle, ProofFailure, narrows, state};

/// What a node should serve for a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The newest accepted upload.
    pub newest: Version,
    /// What to go on serving when the newest cannot be: the newest older version that was once proven, and than which
    /// the newest is not narrower in trust. `None`: refuse handshakes then.
    pub fallback: Option<Version>,
}

/// Why a stored version is no material.
#[derive(Debug, Error)]
pub enum MaterialError {
    /// Its key is erased.
    #[error("the private key is erased")]
    Erased,
    /// What is stored does not make a bundle or a client trust.
    #[error("the stored certificate cannot be used: {0}")]
    Unusable(String),
    /// The store failed, or the sealed key does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A node in a session of its membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The node.
    pub id: NodeId,
    /// The session that its row had when it joined, or last withdrew.
    pub session: Session,
}

/// What a node loaded of a deployment, and reports on.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// The deployment.
    pub id: &'a DeploymentId,
    /// Its generation.
    pub generation: Generation,
    /// The newest row of the feed when it was loaded.
    pub as_of: FeedPosition,
}

/// What becomes of a withdrawal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawal {
    /// The node may serve the version before.
    Done,
    /// It may: it does not count. Before it joins, it has to ask again.
    NotCounted,
    /// Nothing was done: the deployment has changed, or the store's history is another one.
    Outdated,
    /// Nothing was done: another process is the node by now, or the node has joined again.
    AnotherSession,
}

/// How many overdue changes one sweep fails; the next sweep takes the rest.
const OVERDUE_BATCH: u32 = 100;

impl Lifecycle {
    /// A new process of a node begins. Where the row of an earlier one is still there, the node goes on counting: what
    /// waits for it waits for this process, which has to prove it again, and the earlier one's reports are void.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn register(&self, node: &NodeId, session: Session) -> Result<(), StoreError> {
        let mut tx = self.store.begin_as_member().await?;
        tx.hold_nodes().await?;
        tx.set_session(node, session).await?;
        tx.forget_proofs(node).await?;
        tx.commit().await
    }

    /// The node counts from now on, in a session of its own, until a sweep ends its lease; to be kept by
    /// [`Lifecycle::renew`] every third of [`crate::Settings::lease`]. It is waited for in every unsettled change, and is
    /// given as long as any other to prove it: what it is to prove [`certward_store::Store::unproven`] names.
    ///
    /// While nothing can change, `is_carried_out` says whether the node has carried out everything up to the newest row;
    /// if not, nothing is done, and the answer is `false`. All changes wait meanwhile: it must take a second at most.
    ///
    /// # Errors
    /// [`StoreError`]. Where the answer of the database was lost, the node may count; it is to join again.
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

    /// Renews the lease of a node that counts. `false`: it counts no longer, or for another process, and has to
    /// [`Lifecycle::join`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn renew(&self, node: &NodeId, session: Session) -> Result<bool, StoreError> {
        self.store.renew_lease(node, session, self.settings.lease).await
    }

    /// A node counts no longer: it drains, or what it holds is of another history of the store. A late word of an earlier
    /// session changes nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn leave(&self, node: &NodeId, session: Session) -> Result<(), StoreError> {
        let mut tx = self.store.begin_as_member().await?;
        tx.hold_nodes().await?;
        let waited = tx.leave(node, session).await?;
        settle_all(&mut tx, waited).await?;
        tx.commit().await
    }

    /// A process of the node begins that has no gateway: whatever an earlier one was waited for, the node counts no longer.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn retire(&self, node: &NodeId) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        tx.hold_nodes().await?;
        let Some(session) = tx.session(node).await? else { return Ok(()) };
        let waited = tx.leave(node, session).await?;
        settle_all(&mut tx, waited).await?;
        tx.commit().await
    }

    /// A node cannot serve the newest version for good, and asks to serve the one before: to be done before it does, so
    /// that no change is `running` that a counted node does not serve. What was `running` is `failed` and counts all
    /// nodes again. The node goes on in the session `fresh`, so that a report that is under way comes too late.
    ///
    /// # Errors
    /// [`StoreError`].
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
            // A change of its own: every node carries it out, and proves it again.
            let generation = tx.draw_generation(loaded.id).await?;
            tx.count_nodes(loaded.id).await?;
            go(&mut tx, &Deployment { generation, ..deployment }, &next).await?;
        } else {
            tx.forget_proof(loaded.id, &node.id).await?;
        }
        tx.record_proof(loaded.id, &node.id, Err(reason.to_owned())).await?;
        tx.commit().await?;
        Ok(Withdrawal::Done)
    }

    /// What is true of a deployment now: `None` when it is gone; no certificate when none is set or it is being deleted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn assignment(
        &self,
        id: &DeploymentId,
    ) -> Result<Option<(Deployment, Option<Certificate>)>, StoreError> {
        assignment_in(&self.store, id).await
    }

    /// Opens the key of a version and puts the material together.
    ///
    /// # Errors
    /// [`MaterialError`].
    pub async fn material(&self, version: &Version) -> Result<Material, MaterialError> {
        material_in(&self.store, version).await
    }

    /// A node says that it serves what it loaded and has proven it; or, where a deletion is being carried out, that it has
    /// closed its connections; or why it could not. The last missing proof makes the change `running`. Ignored: a report
    /// of an older generation than the deployment's, of a session that is not the node's any more, and of a load from
    /// another history of the store. `false`: it was void for one of the last two reasons.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn report(
        &self,
        node: &Member,
        loaded: &Observation<'_>,
        proof: Result<(), ProofFailure>,
    ) -> Result<bool, StoreError> {
        let Observation { id, generation, as_of } = *loaded;
        // Most reports change nothing (a restarted node proves everything again): those must not take the writer.
        let wanted = |deployment: &Deployment| {
            deployment.generation == generation
                && !matches!(deployment.tls, TlsState::Absent | TlsState::Running { .. })
        };
        match self.store.deployment(id).await? {
            Some(deployment) if wanted(&deployment) => {}
            Some(deployment) => {
                warn_if_unproven(&node.id, &deployment, generation, &proof);
                return Ok(true);
            }
            None => return Ok(true),
        }
        let mut tx = self.store.begin().await?;
        // Locks the nodes as well: the session stays what it is until the end of the transaction.
        let Some(deployment) = tx.deployment(id).await?.filter(wanted) else { return Ok(true) };
        if tx.session(&node.id).await? != Some(node.session) || !tx.has(as_of).await? {
            return Ok(false);
        }
        let note = match &proof {
            Ok(()) => Ok(generation),
            Err(ProofFailure::NoWayIn(reason)) => Err(format!("there is no way in: {reason}")),
            Err(ProofFailure::NotProven(reason)) => Err(reason.clone()),
        };
        tx.record_proof(id, &node.id, note).await?;
        match proof {
            Ok(()) => settle(&mut tx, &deployment).await?,
            Err(failure) => {
                if let Some(next) = state::failed(&deployment.tls, &node.id, &failure) {
                    go(&mut tx, &deployment, &next).await?;
                }
            }
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Lets time do its work: ends leases that are over, fails changes whose deadline is over. Called every second or
    /// so by one task of each node.
    ///
    /// On PostgreSQL it cannot wait in a circle with a change, which locks a deployment's row and counts the nodes:
    /// wherever a row is locked, the lock of the nodes comes first and is shared (`lock.rs` of the store). So when the
    /// first loop has it alone, nobody else holds a row; and the second holds several rows, longest overdue first, but
    /// waits for nothing that whoever holds the next row would come to ask for.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sweep(&self) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        let mut waited = BTreeSet::new();
        for (node, deployments) in tx.end_expired().await? {
            tracing::warn!(node.id = %node, "the lease of a node is over: it is not waited for any more");
            waited.extend(deployments);
        }
        // Once all of them are gone: else the proof of one that is over as well could be the last missing one.
        settle_all(&mut tx, waited).await?;
        for id in tx.overdue(OVERDUE_BATCH).await? {
            let Some(deployment) = tx.deployment(&id).await? else { continue };
            let counts = tx.counts(&id).await?;
            let now = tx.now();
            if let Some(next) = state::overdue(&deployment.tls, deployment.generation, &counts, now) {
                go(&mut tx, &deployment, &next).await?;
            }
        }
        tx.commit().await
    }

    pub(crate) async fn with_newest(
        &self,
        id: &DeploymentId,
    ) -> Result<Option<(Deployment, Option<Version>)>, StoreError> {
        with_newest(&self.store, id).await
    }
}

/// As [`Lifecycle::assignment`], by these records: the rule is the same in the store and in a node's snapshot of it.
///
/// # Errors
/// [`StoreError`].
pub async fn assignment_in(
    records: &impl Records,
    id: &DeploymentId,
) -> Result<Option<(Deployment, Option<Certificate>)>, StoreError> {
    let Some((deployment, newest)) = with_newest(records, id).await? else { return Ok(None) };
    let Some(newest) = newest else { return Ok(Some((deployment, None))) };
    let older = records.last_proven_version(id, newest.version).await?;
    let fallback = older.filter(|older| !narrows(&newest, older));
    Ok(Some((deployment, Some(Certificate { newest, fallback }))))
}

/// As [`Lifecycle::material`], by these records.
///
/// # Errors
/// [`MaterialError`].
pub async fn material_in(records: &impl Records, version: &Version) -> Result<Material, MaterialError> {
    let key = records.private_key(&version.deployment, version.version).await?;
    let key = key.ok_or(MaterialError::Erased)?;
    let chain = version.chain.iter().map(|der| der.clone().into()).collect();
    let bundle = Bundle::new(chain, key).map_err(|error| MaterialError::Unusable(error.to_string()))?;
    Ok(Material { bundle, client_trust: client_trust(version)? })
}

/// A deployment with its newest accepted upload, if a certificate is set.
///
/// They are read one after the other. Where the upload is gone, the deployment has been removed or changed in between
/// and is read again; only under a deployment that is still the same is it damage, and never «no certificate».
async fn with_newest(
    records: &impl Records,
    id: &DeploymentId,
) -> Result<Option<(Deployment, Option<Version>)>, StoreError> {
    let mut without = None;
    loop {
        let Some(deployment) = records.deployment(id).await? else { return Ok(None) };
        let Some(version) = deployment.tls.version() else { return Ok(Some((deployment, None))) };
        if let Some(newest) = records.version(id, version).await? {
            return Ok(Some((deployment, Some(newest))));
        }
        // Each change draws a new generation, so the loop ends as soon as nothing changes.
        if without.replace(deployment.generation) == Some(deployment.generation) {
            return Err(StoreError::Corrupt(format!("version {version} of {id} is missing")));
        }
    }
}

async fn settle_all(tx: &mut Tx, ids: impl IntoIterator<Item = DeploymentId>) -> Result<(), StoreError> {
    for id in ids {
        if let Some(deployment) = tx.deployment(&id).await? {
            settle(tx, &deployment).await?;
        }
    }
    Ok(())
}

async fn settle(tx: &mut Tx, deployment: &Deployment) -> Result<(), StoreError> {
    let counts = tx.counts(&deployment.id).await?;
    match state::settled(&deployment.tls, deployment.generation, &counts) {
        Some(next) => go(tx, deployment, &next).await,
        None => Ok(()),
    }
}

/// Carries a step out that nobody asked for by name: time or the nodes brought it about.
async fn go(tx: &mut Tx, deployment: &Deployment, next: &TlsState) -> Result<(), StoreError> {
    let id = &deployment.id;
    tx.set_tls(id, deployment.generation, next).await?;
    let (action, detail) = match next {
        TlsState::Running { version } => {
            tx.mark_proven(id, *version).await?;
            ("tls.running", format!("version {version}"))
        }
        TlsState::Failed { version, reason } => {
            tracing::warn!(deployment.id = %id, reason, "a certificate is not proven");
            ("tls.failed", format!("version {version}: {reason}"))
        }
        TlsState::Absent => ("tls.deleted", "every node has let go".to_owned()),
        TlsState::Pending { .. } | TlsState::Terminated => return Ok(()),
    };
    let entry = AuditEntry { actor: "certward".into(), action, subject: id.to_string(), detail };
    tx.audit(entry).await
}

/// A running certificate stays `running`: what a node cannot prove again, it goes on trying and says here.
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

/// The client trust of a stored version. Fails closed: a two-way version without CAs is unusable, never one-way.
fn client_trust(version: &Version) -> Result<Option<ClientTrust>, MaterialError> {
    match (version.tls_type, version.client_cas.is_empty()) {
        (TlsType::OneWay, true) => Ok(None),
        (TlsType::TwoWay, false) => {
            let anchors = version.client_cas.iter().map(|der| der.clone().into()).collect();
            ClientTrust::new(anchors).map(Some).map_err(|error| MaterialError::Unusable(error.to_string()))
        }
        (TlsType::OneWay, false) | (TlsType::TwoWay, true) => {
            Err(MaterialError::Unusable("its type and its client CAs do not fit together".into()))
        }
    }
}
