use std::collections::BTreeSet;

use certward_pki::{Bundle, ClientTrust, Material, TlsType};
use certward_store::{
    AuditEntry, Deployment, DeploymentId, Generation, NodeId, Records, StoreError, TlsState, Tx, Version,
};
use thiserror::Error;

use crate::{Lifecycle, narrows, state};

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

/// Why a node could not prove a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProofFailure {
    /// No listener and name lead to the deployment: `failed` at once.
    NoWayIn,
    /// The newest try failed, in one plain sentence; the node goes on trying. `failed` at the deadline.
    NotProven(String),
}

/// How many overdue changes one sweep fails; the next sweep takes the rest.
const OVERDUE_BATCH: u32 = 100;

impl Lifecycle {
    /// A process of a node begins, and the node to count, until its lease ends; [`Lifecycle::renew`] it every third of
    /// [`crate::Settings::lease`]. What an earlier process of it has proven of changes that are not settled yet, this one has to prove
    /// again.
    ///
    /// A node that had no lease is from now on waited for in every unsettled change, and is given as long as any other to
    /// prove it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn start(&self, node: &NodeId) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        tx.forget_proofs(node).await?;
        self.lease(&mut tx, node).await?;
        tx.commit().await
    }

    /// A process of a node begins that serves what the node knew, and has to catch up and to [`Lifecycle::rejoin`] before it
    /// counts. Where the lease of an earlier process still lasts, what waits for the node waits for this process: as with
    /// [`Lifecycle::start`], it has to prove that again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn start_behind(&self, node: &NodeId) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        tx.forget_proofs(node).await?;
        tx.commit().await
    }

    /// Renews the lease of a node that counts. `false`: its lease is over, and it has to [`Lifecycle::rejoin`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn renew(&self, node: &NodeId) -> Result<bool, StoreError> {
        let mut tx = self.store.begin().await?;
        let until = tx.now().after(self.settings.lease);
        let renewed = tx.renew_lease(node, until).await?;
        tx.commit().await?;
        Ok(renewed)
    }

    /// A node that does not count, or began behind, counts again, if nothing has changed since `seen`, up to which it has carried out
    /// all changes; else `false`, and nothing is done. So no change is `running` that a counted node has slept through.
    ///
    /// What it said while it did not count was not heard: it is to prove again what [`certward_store::Store::unproven`] names.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rejoin(&self, node: &NodeId, seen: Generation) -> Result<bool, StoreError> {
        let mut tx = self.store.begin().await?;
        self.lease(&mut tx, node).await?;
        // Read when nobody can change anything any more.
        if tx.newest_generation().await? > seen {
            return Ok(false);
        }
        tx.commit().await?;
        Ok(true)
    }

    async fn lease(&self, tx: &mut Tx, node: &NodeId) -> Result<(), StoreError> {
        let until = tx.now().after(self.settings.lease);
        if tx.lease(node, until).await? {
            let deadline = tx.now().after(self.settings.prove_within);
            tx.extend_deadlines(deadline).await?;
        }
        Ok(())
    }

    /// A node counts no longer: it drains.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn leave(&self, node: &NodeId) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        uncount(&mut tx, node).await?;
        tx.commit().await
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

    /// A node says that it serves `generation` and has proven it; or, where a deletion is being carried out, that it has
    /// let go; or why it could not. The last missing proof makes the change `running`. A report of an older
    /// generation than the deployment's is ignored.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn report(
        &self,
        node: &NodeId,
        id: &DeploymentId,
        generation: Generation,
        proof: Result<(), ProofFailure>,
    ) -> Result<(), StoreError> {
        // Most reports change nothing (a restarted node proves everything again): those must not take the writer.
        let wanted = |deployment: &Deployment| {
            deployment.generation == generation
                && !matches!(deployment.tls, TlsState::Absent | TlsState::Running { .. })
        };
        match self.store.deployment(id).await? {
            Some(deployment) if wanted(&deployment) => {}
            Some(deployment) => {
                warn_if_unproven(node, &deployment, generation, &proof);
                return Ok(());
            }
            None => return Ok(()),
        }
        let mut tx = self.store.begin().await?;
        let Some(deployment) = tx.deployment(id).await?.filter(wanted) else { return Ok(()) };
        let note = match &proof {
            Ok(()) => Ok(generation),
            Err(ProofFailure::NoWayIn) => Err("there is no way in".to_owned()),
            Err(ProofFailure::NotProven(reason)) => Err(reason.clone()),
        };
        tx.note_proof(id, node, note).await?;
        match proof {
            Ok(()) => settle(&mut tx, &deployment).await?,
            Err(failure) => {
                if let Some(next) = state::failed(&deployment.tls, &failure) {
                    go(&mut tx, &deployment, &next).await?;
                }
            }
        }
        tx.commit().await
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
        for node in tx.expired_nodes().await? {
            tracing::warn!(node.id = %node, "the lease of a node is over: it is not waited for any more");
            waited.extend(tx.end_lease(&node).await?);
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

/// Ends a node's lease, and settles what waited for that node alone.
async fn uncount(tx: &mut Tx, node: &NodeId) -> Result<(), StoreError> {
    let waited = tx.end_lease(node).await?;
    settle_all(tx, waited).await
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
