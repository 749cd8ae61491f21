//! A deployment's deny-list: adding to it, listing it, removing from it.
//!
//! A change of it is no version: the certificate's status and proofs stay. It draws a generation,
//! which nodes carry out. Entries are kept without a certificate, too, and for a one-way one.

use std::collections::{HashMap, HashSet};

use certward_pki::TlsType;
use certward_store::{
    AuditEntry, CloseRate, Deployment, DeploymentId, DeploymentRef, Generation, Revocation, RevocationId,
    RevokedWhat, Scope, StoreError, Tx,
};
use thiserror::Error;

use crate::{
    Denied, DeniedSessions, Lifecycle, NewRevocation, RefusedRevocation, Requester, acting::Acting,
    new_revocation::resolve,
};

/// Revocations of one change.
pub const REVOKED_AT_ONCE_MAX: usize = 1_000;
/// Known devices that are counted.
const MATCHES_COUNTED_MAX: u32 = 10_000;
/// In the audit; the others have the same generation.
const AUDITED_IDS_MAX: usize = 20;

/// What a change of the deny-list did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// One for each that was asked for, in that order.
    pub entries: Vec<RevokedEntry>,
    /// Nodes that have carried it out refuse all of them.
    pub generation: Generation,
    /// Whom they refuse, of those known and connected before the change.
    pub matches: RevocationMatches,
    /// Whether devices are asked for certificates now: the newest upload is two-way.
    pub has_effect: bool,
}

/// A revocation that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedEntry {
    /// As it is on the deny-list.
    pub revocation: Revocation,
    /// `false`: it was there already, with its reason.
    pub is_new: bool,
}

/// Devices and sessions that revocations refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationMatches {
    /// Known devices; counted up to 10,000.
    pub known: u64,
    /// Their sessions, in the order of what was asked for; one is counted for each that finds it.
    /// `None`: there is no gateway node.
    pub connected: Option<DeniedSessions>,
}

/// Why a deny-list was not changed.
#[derive(Debug, Error)]
pub enum RevocationError {
    /// No such deployment.
    #[error("the deployment does not exist")]
    NoDeployment,
    /// The deployment has no such revocation.
    #[error("the revocation does not exist")]
    NotFound,
    /// None, or more than [`REVOKED_AT_ONCE_MAX`].
    #[error("1 to 1000 revocations can be added at once")]
    Count,
    /// These cannot be stored; none is.
    #[error("revocations are refused")]
    Refused(Vec<RefusedRevocation>),
    /// See [`REVOCATIONS_MAX`](certward_store::REVOCATIONS_MAX) and
    /// [`REVOCATIONS_IN_ALL_MAX`](certward_store::REVOCATIONS_IN_ALL_MAX); none is stored.
    #[error("the deny-list has {listed} entries and room for {room} more, not for {wanted}")]
    Full {
        /// Its entries.
        listed: u64,
        /// Further ones that it may have.
        room: u64,
        /// New ones.
        wanted: u64,
    },
    /// Not allowed.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed; the change may have been made.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Lifecycle {
    /// Adds revocations to a deployment's deny-list: all or none. One that is there already stays
    /// as it is. Nodes that have carried out the generation refuse them, and end their sessions at
    /// `close_rate`; `None`: at once. Durable on return.
    pub async fn revoke<'a>(
        &self,
        actor: impl Into<Requester<'a>>,
        wanted: &DeploymentRef,
        new: &[NewRevocation],
        close_rate: Option<CloseRate>,
    ) -> Result<Revoked, RevocationError> {
        if !(1..=REVOKED_AT_ONCE_MAX).contains(&new.len()) {
            return Err(RevocationError::Count);
        }
        let there = self.store.read().deployment(&wanted.id).await?;
        let there = there.filter(|there| wanted.means(there)).ok_or(RevocationError::NoDeployment)?;
        let identity = there.spec.proxy.identity;
        let resolved = resolve(&self.store.read(), &wanted.id, identity, new).await?;
        let revoked = resolved.map_err(RevocationError::Refused)?;
        // Before the change, which ends the sessions.
        let matches = self.matches(&wanted.id, &revoked).await?;

        let mut acting = self.begin_as(actor.into(), Scope::Tls).await?;
        let deployment = acting.deployment(wanted).await?.ok_or(RevocationError::NoDeployment)?;
        let has_effect = asks_for_certificates(&mut acting.tx, &deployment).await?;
        // An urgent one leaves others, which an earlier change ends at a rate, their turns.
        if close_rate.is_some() {
            acting.tx.set_close_rate(&deployment.id, close_rate).await?;
        }
        let (entries, generation) = self.store_revocations(acting, &deployment, new, &revoked).await?;
        Ok(Revoked { entries, generation, matches, has_effect })
    }

    /// Removes a revocation. Devices that it alone refused may connect again; ended sessions do not
    /// come back by themselves. Returns the generation that nodes carry out.
    pub async fn remove_revocation<'a>(
        &self,
        actor: impl Into<Requester<'a>>,
        wanted: &DeploymentRef,
        id: RevocationId,
    ) -> Result<Generation, RevocationError> {
        let mut acting = self.begin_as(actor.into(), Scope::Tls).await?;
        let deployment = acting.deployment(wanted).await?.ok_or(RevocationError::NoDeployment)?;
        let Acting { mut tx, origin, .. } = acting;
        if !tx.remove_revocation(&deployment.id, id).await? {
            return Err(RevocationError::NotFound);
        }
        let generation = tx.draw_generation(&deployment.id).await?;
        tx.set_tls(&deployment.id, generation, &deployment.tls).await?;
        tx.audit(AuditEntry {
            detail: format!("{id}, generation {generation}"),
            project: Some(deployment.project),
            deployment: Some(deployment.id.clone()),
            ..AuditEntry::new(origin, "tls.unrevoke", deployment.id.as_str())
        });
        tx.commit().await?;
        Ok(generation)
    }

    /// A deployment's revocations, newest first, after the one of this generation and id; at most
    /// `limit`. `None`: the deployment is gone, or another has its id.
    pub async fn revocations(
        &self,
        wanted: &DeploymentRef,
        after: Option<(Generation, RevocationId)>,
        limit: u32,
    ) -> Result<Option<Vec<Revocation>>, StoreError> {
        let store = self.store.read();
        let found = store.revocations(&wanted.id, after, limit).await?;
        let there = store.deployment(&wanted.id).await?;
        Ok(there.filter(|there| wanted.means(there)).map(|_| found))
    }

    async fn matches(
        &self,
        deployment: &DeploymentId,
        revoked: &[RevokedWhat],
    ) -> Result<RevocationMatches, StoreError> {
        let known = self.store.read().devices_refused_by(deployment, revoked, MATCHES_COUNTED_MAX).await?;
        let keys: Vec<_> = revoked.iter().map(RevokedWhat::key).collect();
        let connected = self.denied_sessions(deployment, &keys).await?;
        Ok(RevocationMatches { known: known.len() as u64, connected })
    }

    async fn store_revocations(
        &self,
        Acting { mut tx, actor, origin }: Acting,
        deployment: &Deployment,
        new: &[NewRevocation],
        revoked: &[RevokedWhat],
    ) -> Result<(Vec<RevokedEntry>, Generation), RevocationError> {
        let id = &deployment.id;
        let keys: HashSet<_> = revoked.iter().map(RevokedWhat::key).collect();
        let keys: Vec<_> = keys.into_iter().collect();
        let there = tx.revocations_by(id, &keys).await?;
        let mut there: HashMap<_, _> = there.into_iter().map(|there| (there.what.key(), there)).collect();
        let wanted = (keys.len() - there.len()) as u64;
        let total = tx.revocation_total(id).await?;
        if wanted > total.room {
            return Err(RevocationError::Full { listed: total.listed, room: total.room, wanted });
        }
        let generation = match wanted {
            0 => deployment.generation,
            _ => tx.draw_generation(id).await?,
        };
        let (mut entries, mut added) = (Vec::with_capacity(new.len()), Vec::new());
        for (new, what) in new.iter().zip(revoked) {
            let key = what.key();
            let is_new = !there.contains_key(&key);
            let revocation = there.entry(key).or_insert_with(|| Revocation {
                id: self.drawn_revocation(),
                generation,
                what: what.clone(),
                reason: new.reason.clone(),
                revoked_by: actor.key.clone(),
                revoked_at: tx.now(),
            });
            if is_new {
                added.push(revocation.clone());
            }
            entries.push(RevokedEntry { revocation: revocation.clone(), is_new });
        }
        if added.is_empty() {
            return Ok((entries, generation));
        }
        tx.insert_revocations(id, &added).await?;
        tx.set_tls(id, generation, &deployment.tls).await?;
        tx.audit(AuditEntry {
            detail: described(&added, generation),
            project: Some(deployment.project.clone()),
            deployment: Some(id.clone()),
            ..AuditEntry::new(origin, "tls.revoke", id.as_str())
        });
        tx.commit().await?;
        Ok((entries, generation))
    }

    fn drawn_revocation(&self) -> RevocationId {
        let mut id = [0; 16];
        self.entropy.fill(&mut id);
        RevocationId(id)
    }
}

/// Whether the newest upload is two-way.
async fn asks_for_certificates(tx: &mut Tx, deployment: &Deployment) -> Result<bool, StoreError> {
    let Some(version) = deployment.tls.version() else { return Ok(false) };
    let newest = tx.version(&deployment.id, version).await?;
    Ok(newest.is_some_and(|newest| newest.tls_type == TlsType::TwoWay))
}

/// For the audit: names are personal data.
fn described(added: &[Revocation], generation: Generation) -> String {
    let ids: Vec<String> = added.iter().take(AUDITED_IDS_MAX).map(|added| added.id.to_string()).collect();
    let more = added.len().saturating_sub(AUDITED_IDS_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{} revocations: {}{more}, generation {generation}", added.len(), ids.join(", "))
}
