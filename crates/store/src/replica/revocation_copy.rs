//! Revocations and CRLs on their way into a replica: what is new to it, of one deployment at a
//! time, for one may have 64 MiB.

use std::collections::HashSet;

use sqlx::AnyConnection;

use crate::{
    CrlId, CrlRevision, Deployment, DeploymentId, Generation, ServedCrl, StoreError,
    engine::page_cache,
    repo::{
        crl, deployment,
        revocation::{self, KnownRevocations, ListedKey, RevocationsRead},
    },
};

/// What a replica has of a deployment.
pub(crate) struct KnownInReplica {
    revocations: Option<KnownRevocations>,
    crls: Vec<(CrlId, CrlRevision)>,
}

/// What it lacks.
pub(crate) struct RevocationCopy {
    revocations: RevocationsRead,
    /// Others of their ids, or new ones.
    crls: Vec<ServedCrl>,
    gone: Vec<CrlId>,
    generation: Generation,
}

fn without(rows: &[ListedKey], others: &[ListedKey]) -> Vec<ListedKey> {
    let others: HashSet<_> = others.iter().collect();
    rows.iter().filter(|row| !others.contains(row)).copied().collect()
}

/// Whether a copy of `deployment` needs rows that the replica does not have.
pub(crate) async fn is_needed(conn: &mut AnyConnection, deployment: &Deployment) -> Result<bool, StoreError> {
    if deployment.revocations.is_empty() {
        return Ok(false);
    }
    Ok(deployment::mark(conn, &deployment.id).await? != Some(deployment.revocations))
}

impl KnownInReplica {
    /// An unreadable deployment is as good as none.
    pub(crate) async fn read(conn: &mut AnyConnection, id: &DeploymentId) -> Result<Self, StoreError> {
        let revocations = match deployment::find(conn, id).await {
            Ok(Some(there)) => Some(revocation::known(conn, &there).await?),
            Ok(None) | Err(StoreError::Corrupt(_)) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { revocations, crls: crl::revisions(conn, id).await? })
    }
}

impl RevocationCopy {
    /// From the snapshot of the store that `deployment` was read from.
    pub(crate) async fn read(
        conn: &mut AnyConnection,
        deployment: &Deployment,
        known: &KnownInReplica,
    ) -> Result<Self, StoreError> {
        let revocations = revocation::since(conn, deployment, known.revocations).await?;
        let there = crl::revisions(conn, &deployment.id).await?;
        let mut crls = Vec::new();
        for (id, _) in there.iter().filter(|there| !known.crls.contains(there)) {
            crls.extend(crl::served(conn, &deployment.id, id).await?);
        }
        let is_gone = |id: &CrlId| !there.iter().any(|(there, _)| there == id);
        let gone = known.crls.iter().map(|(id, _)| id).filter(|id| is_gone(id)).cloned().collect();
        Ok(Self { revocations, crls, gone, generation: deployment.generation })
    }

    /// Only what differs: after a removal, which is read as all, that is one row.
    async fn write_revocations(&self, conn: &mut AnyConnection, id: &DeploymentId) -> Result<(), StoreError> {
        let RevocationsRead { rows, is_all, .. } = &self.revocations;
        if !is_all {
            return revocation::write_listed(conn, id, rows).await;
        }
        let here = revocation::all(conn, id).await?;
        revocation::remove_listed(conn, id, &without(&here, rows)).await?;
        revocation::write_listed(conn, id, &without(rows, &here)).await
    }

    /// After the deployment's row, and in its transaction.
    pub(crate) async fn write(&self, conn: &mut AnyConnection, id: &DeploymentId) -> Result<(), StoreError> {
        page_cache::with_large(conn, async |conn| self.write_revocations(conn, id).await).await?;
        for gone in &self.gone {
            crl::remove(conn, id, gone).await?;
        }
        for served in &self.crls {
            crl::write_served(conn, id, served, self.generation).await?;
        }
        Ok(())
    }
}
