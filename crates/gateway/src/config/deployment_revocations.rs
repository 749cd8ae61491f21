//! A deployment's deny-list and CRLs as this node has them in memory: read when the deployment's
//! mark says that they differ from those before, and then only what is new.

use std::sync::Arc;

use certward_pki::{CrlTable, DenyList, DeviceIdentity, Revocations};
use certward_store::{
    CrlId, CrlRevision, Deployment, KnownRevocations, Reader, RevocationChange, RevocationMark, StoreError,
};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// A CRL has up to 16 MiB, and its table as much.
const CRLS_READ_AT_ONCE: usize = 4;

/// Immutable, and as of one mark. Shared by the configurations that it was not changed between.
#[derive(Debug)]
pub(crate) struct DeploymentRevocations {
    mark: RevocationMark,
    /// What names are compared with: the identity that the broker receives.
    identity: DeviceIdentity,
    lists: ReadLists,
    hard_ends: Arc<[i64]>,
    revocations: Revocations,
}

#[derive(Debug, Clone)]
struct ReadLists {
    known: KnownRevocations,
    denied: Arc<DenyList>,
    crls: Vec<(CrlRevision, Arc<CrlTable>)>,
}

/// Bounds what is in memory while CRLs are read.
#[derive(Debug)]
pub(crate) struct CrlReads(Semaphore);

impl Default for CrlReads {
    fn default() -> Self {
        Self(Semaphore::new(CRLS_READ_AT_ONCE))
    }
}

impl DeploymentRevocations {
    /// In the snapshot of `deployment`. `None`: there are none, and nothing was read.
    ///
    /// # Errors
    /// The deployment must not be served without them.
    pub(crate) async fn read(
        reader: &Reader,
        deployment: &Deployment,
        before: Option<&Arc<Self>>,
        reads: &CrlReads,
    ) -> Result<Option<Arc<Self>>, StoreError> {
        let (mark, identity) = (deployment.revocations, deployment.spec.proxy.identity);
        if mark.is_empty() {
            return Ok(None);
        }
        let lists = match before {
            Some(before) if before.mark == mark && before.identity == identity => {
                return Ok(Some(Arc::clone(before)));
            }
            Some(before) if before.mark == mark => before.lists.clone(),
            before => ReadLists::read(reader, deployment, before.map(|before| &before.lists), reads).await?,
        };
        Ok(Some(Arc::new(Self::new(mark, identity, lists))))
    }

    /// Whether [`Self::read`] would build tables of CRLs, which takes up to seconds.
    pub(crate) async fn has_unread_crls(
        reader: &Reader,
        deployment: &Deployment,
        before: Option<&Arc<Self>>,
    ) -> Result<bool, StoreError> {
        if before.map_or_else(RevocationMark::default, |before| before.mark) == deployment.revocations {
            return Ok(false);
        }
        let is_read = |revision: &CrlRevision| {
            before.is_some_and(|before| before.lists.crls.iter().any(|(there, _)| there == revision))
        };
        let revisions = reader.crl_revisions(&deployment.id).await?;
        Ok(revisions.iter().any(|(_, revision)| !is_read(revision)))
    }

    fn new(mark: RevocationMark, identity: DeviceIdentity, lists: ReadLists) -> Self {
        let tables: Vec<_> = lists.crls.iter().map(|(_, table)| Arc::clone(table)).collect();
        let ends = tables.iter().filter_map(|table| table.refuses_all_after());
        let hard_ends = ends.map(|end| end.unix_timestamp()).collect();
        let revocations = Revocations::new(identity, Arc::clone(&lists.denied)).with_crls(tables);
        Self { mark, identity, lists, hard_ends, revocations }
    }

    pub(crate) fn get(&self) -> &Revocations {
        &self.revocations
    }

    pub(crate) fn identity(&self) -> DeviceIdentity {
        self.identity
    }

    /// Another value: other CRLs.
    pub(crate) fn crl_mark(&self) -> RevocationMark {
        let revisions = self.lists.crls.iter().map(|(revision, _)| revision.0);
        revisions.fold(RevocationMark::default(), |mark, revision| mark ^ revision)
    }

    /// The last seconds in which those of its CRLs that must be current are, since 1970.
    pub(crate) fn hard_ends(&self) -> &Arc<[i64]> {
        &self.hard_ends
    }
}

impl ReadLists {
    async fn read(
        reader: &Reader,
        deployment: &Deployment,
        before: Option<&Self>,
        reads: &CrlReads,
    ) -> Result<Self, StoreError> {
        let known = before.map(|before| before.known);
        let (change, known) = reader.revocations_since(deployment, known).await?;
        let denied = denied(change, before.map(|before| Arc::clone(&before.denied))).await;
        let mut crls = Vec::new();
        for (id, revision) in reader.crl_revisions(&deployment.id).await? {
            let before = before.and_then(|before| before.crls.iter().find(|(there, _)| *there == revision));
            let table = match before {
                Some((_, table)) => Arc::clone(table),
                None => table(reader, deployment, &id, reads).await?,
            };
            crls.push((revision, table));
        }
        Ok(Self { known, denied, crls })
    }
}

/// 100,000 entries take milliseconds to copy.
async fn denied(change: RevocationChange, before: Option<Arc<DenyList>>) -> Arc<DenyList> {
    on_blocking_thread(move || match (change, before) {
        (RevocationChange::All(keys), _) => Arc::new(keys.into_iter().collect()),
        (RevocationChange::Added(keys), Some(before)) if keys.is_empty() => before,
        (RevocationChange::Added(keys), before) => {
            let mut list = before.map(|before| DenyList::clone(&before)).unwrap_or_default();
            list.extend(keys);
            Arc::new(list)
        }
    })
    .await
}

async fn table(
    reader: &Reader,
    deployment: &Deployment,
    id: &CrlId,
    reads: &CrlReads,
) -> Result<Arc<CrlTable>, StoreError> {
    // The reader has a connection, which must not wait.
    let busy = || StoreError::Unavailable("other CRLs are being read".to_owned());
    let _one = reads.0.try_acquire().map_err(|_| busy())?;
    let unusable = || StoreError::Corrupt(format!("the CRL {id} of {} cannot be used", deployment.id));
    let crl = reader.served_crl(&deployment.id, id).await?.ok_or_else(unusable)?;
    let table = move || CrlTable::of_accepted(&crl.der, &crl.signer_spki, crl.stale_policy);
    on_blocking_thread(table).await.map(Arc::new).ok_or_else(unusable)
}

async fn on_blocking_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(work).await.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))
}
