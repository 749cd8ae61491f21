//! Copies a store into a replica, rows still sealed.

use std::collections::HashMap;

use sqlx::AnyConnection;
use thiserror::Error;

use crate::{
    Boundaries, DeploymentId, FeedPosition, Generation, Reader, Replica, Store, StoreError,
    replica::{
        db::{mark, set_mark},
        origin::StoreOrigin,
        revocation_copy::{self, KnownInReplica, RevocationCopy},
        rows::{self, CopiedDeployment},
    },
    repo::{
        boundary,
        deployment::{self, MarkedDeployment},
        feed::{self, FeedFingerprint},
        secret::of_the_program,
    },
    sealed::secret,
};

const ONE_BY_ONE_MAX: usize = 20;
const MARKS_AT_ONCE: usize = 200;

/// Which side failed.
#[derive(Debug, Error)]
pub enum CopyError {
    /// The store; the replica is unchanged.
    #[error(transparent)]
    Store(StoreError),
    /// The node's disk.
    #[error("this node's replica: {0}")]
    Replica(StoreError),
}

struct SourceState {
    newest: Generation,
    mark: Option<Generation>,
    landmark: Option<FeedFingerprint>,
}

impl Replica {
    /// Makes an empty replica of this store, replacing any other.
    pub async fn make(&self, store: &Store) -> Result<(), CopyError> {
        let origin = store.read().run(async |conn| StoreOrigin::read(conn).await).await;
        self.make_with(&origin.map_err(CopyError::Store)?).await.map_err(CopyError::Replica)
    }

    /// Whether it copies this store's history, not one replaced by a backup.
    pub async fn is_of(&self, store: &Store) -> Result<bool, CopyError> {
        let here = async |conn: &mut AnyConnection| {
            let (identity, mark) = (secret::identity(conn).await?, mark(conn).await?);
            let landmark = match mark {
                Some(mark) => feed::landmark(conn, mark).await?,
                None => None,
            };
            Ok((identity, mark, landmark))
        };
        let (identity, mark, landmark) = self.read().run(here).await.map_err(CopyError::Replica)?;
        let there = async |conn: &mut AnyConnection| {
            if secret::identity(conn).await? != identity {
                return Ok(false);
            }
            let Some(mark) = mark else { return Ok(true) };
            if mark > feed::newest(conn).await? {
                return Ok(false);
            }
            if landmark.is_none() || feed::is_pruned(conn, mark).await? {
                return Ok(true);
            }
            Ok(feed::landmark(conn, mark).await? == landmark)
        };
        let is_of = async { store.snapshot().await?.run(there).await };
        Ok(is_of.await.map_err(CopyError::Store)? && !self.lacks_marks(store).await?)
    }

    /// Whether a deployment is there as of its last change, but not its revocations: a release
    /// before has copied it, which knows none.
    async fn lacks_marks(&self, store: &Store) -> Result<bool, CopyError> {
        let snapshot = store.snapshot().await.map_err(CopyError::Store)?;
        let mut last: Option<DeploymentId> = None;
        loop {
            let page = async |conn: &mut AnyConnection| {
                deployment::marked_after(conn, last.as_ref(), MARKS_AT_ONCE).await
            };
            let there = snapshot.run(page).await.map_err(CopyError::Store)?;
            let ids: Vec<_> = there.iter().map(|marked| marked.id.clone()).collect();
            if ids.is_empty() {
                return Ok(false);
            }
            let here = self.read().run(async |conn| deployment::marks_of(conn, &ids).await).await;
            let lacks = |here: &MarkedDeployment| {
                there.iter().any(|there| {
                    (&there.id, there.generation) == (&here.id, here.generation) && there.mark != here.mark
                })
            };
            if here.map_err(CopyError::Replica)?.iter().any(lacks) {
                return Ok(true);
            }
            last = ids.last().cloned();
        }
    }

    /// Copies changed boundaries, then these deployments or their removal: never allows more than
    /// is known. With `mark`, complete up to that row. Durable; erased content is overwritten.
    ///
    /// # Errors
    /// [`CopyError`], with nothing copied. [`StoreError::Unavailable`] if the store's history lacks
    /// the row.
    pub async fn copy(
        &self,
        store: &Store,
        ids: &[DeploymentId],
        mark: Option<FeedPosition>,
    ) -> Result<HashMap<DeploymentId, Option<Generation>>, CopyError> {
        let known = self.boundaries_stamp().await.map_err(CopyError::Replica)?;
        let read = async |conn: &mut AnyConnection| {
            let boundaries = boundary::unless_known(conn, Some(known)).await?;
            let copied = rows::each(conn, ids).await?;
            let mut landmark = None;
            if let Some(mark) = mark {
                if feed::ancestry(conn, mark).await? != feed::Ancestry::Own {
                    return Err(StoreError::unavailable("its history is not the one that was read"));
                }
                landmark = feed::landmark(conn, mark.generation).await?;
            }
            let mark = mark.map(|mark| mark.generation);
            let read = SourceState { newest: feed::newest(conn).await?, mark, landmark };
            Ok((boundaries, copied, read))
        };
        // As a member: joining waits for this copy.
        let snapshot = store.snapshot_as_member().await.map_err(CopyError::Store)?;
        let (boundaries, mut copied, read) = snapshot.run(read).await.map_err(CopyError::Store)?;
        self.replace_boundaries(boundaries).await.map_err(CopyError::Replica)?;
        self.write_copied(&mut copied, &read, snapshot).await?;
        let generation = |copied: &CopiedDeployment| match copied {
            CopiedDeployment::Whole(copy) => Some(copy.deployment.generation),
            CopiedDeployment::Gone(_) | CopiedDeployment::Unreadable(_) => None,
        };
        Ok(copied.iter().map(|copied| (copied.id().clone(), generation(copied))).collect())
    }

    /// Syncs at most `limit` deployments after `after`, only where generations differ. Returns
    /// where to continue.
    ///
    /// # Errors
    /// [`CopyError`], with nothing copied.
    pub async fn copy_page(
        &self,
        store: &Store,
        after: Option<&DeploymentId>,
        limit: u32,
    ) -> Result<Option<DeploymentId>, CopyError> {
        let snapshot = store.snapshot().await.map_err(CopyError::Store)?;
        let page = snapshot.run(async |conn| deployment::generations(conn, after, None, limit).await);
        let page = page.await.map_err(CopyError::Store)?;
        // The last page is open-ended, to remove extra rows.
        let last =
            if (page.len() as u64) < u64::from(limit) { None } else { page.last().map(|(id, _)| id.clone()) };
        let mut here = self.generations(after, last.as_ref()).await.map_err(CopyError::Replica)?;
        let mut is_new = |(id, generation): &(DeploymentId, Generation)| here.remove(id) != Some(*generation);
        let differ: Vec<DeploymentId> = page.into_iter().filter(|it| is_new(it)).map(|(id, _)| id).collect();
        let read = async |conn: &mut AnyConnection| {
            let copied = page_rows(conn, &differ).await?;
            let newest = feed::newest(conn).await?;
            Ok((copied, SourceState { newest, mark: None, landmark: None }))
        };
        let (mut copied, read) = snapshot.run(read).await.map_err(CopyError::Store)?;
        copied.extend(here.into_keys().map(CopiedDeployment::Gone));
        if !copied.is_empty() {
            self.write_copied(&mut copied, &read, snapshot).await?;
        }
        Ok(last)
    }

    /// With a mark, neither it nor a deployment goes back: during a take-over two processes may
    /// write. Without, all follows the store. `snapshot`: what they were read from.
    async fn write_copied(
        &self,
        copied: &mut [CopiedDeployment],
        read: &SourceState,
        snapshot: Reader,
    ) -> Result<(), CopyError> {
        // Others need no connection of the store while this disk is written.
        let snapshot = copied.iter().any(CopiedDeployment::is_marked).then_some(snapshot);
        let write = async |conn: &mut AnyConnection| {
            let before = mark(conn).await?;
            let (mut erased, mut left) = (false, Vec::new());
            for (at, copied) in copied.iter().enumerate() {
                if before.is_some() && rows::is_older(conn, copied, read.newest).await? {
                    continue;
                }
                match copied {
                    CopiedDeployment::Whole(copy)
                        if revocation_copy::is_needed(conn, &copy.deployment).await? =>
                    {
                        left.push(at);
                    }
                    _ => erased |= rows::write(conn, copied).await?,
                }
            }
            if left.is_empty() {
                write_mark(conn, before, read).await?;
            }
            Ok((erased, left))
        };
        let (mut erased, left) = self.write(write).await.map_err(CopyError::Replica)?;
        if let Some(snapshot) = snapshot.filter(|_| !left.is_empty()) {
            for at in left {
                erased |= self.write_with_revocations(&mut copied[at], read, &snapshot).await?;
            }
            let write = async |conn: &mut AnyConnection| {
                let before = mark(conn).await?;
                write_mark(conn, before, read).await
            };
            self.write(write).await.map_err(CopyError::Replica)?;
        }
        if erased { self.checkpoint().await.map_err(CopyError::Replica) } else { Ok(()) }
    }

    /// In a transaction of its own. Without its revocations a deployment must not be served.
    async fn write_with_revocations(
        &self,
        copied: &mut CopiedDeployment,
        read: &SourceState,
        snapshot: &Reader,
    ) -> Result<bool, CopyError> {
        let write = async |conn: &mut AnyConnection| {
            if mark(conn).await?.is_some() && rows::is_older(conn, copied, read.newest).await? {
                return Ok(Ok(false));
            }
            let CopiedDeployment::Whole(copy) = &*copied else { return Ok(Ok(false)) };
            let deployment = &copy.deployment;
            let known = KnownInReplica::read(conn, &deployment.id).await?;
            let lacking =
                async |there: &mut AnyConnection| RevocationCopy::read(there, deployment, &known).await;
            match snapshot.run(lacking).await {
                Ok(lacking) => {
                    let erased = rows::write(conn, copied).await?;
                    lacking.write(conn, copied.id()).await?;
                    Ok(Ok(erased))
                }
                Err(StoreError::Corrupt(_)) => {
                    *copied = CopiedDeployment::Unreadable(copied.id().clone());
                    Ok(Ok(rows::write(conn, copied).await?))
                }
                // Nothing is written yet.
                Err(error) => Ok(Err(error)),
            }
        };
        self.write(write).await.map_err(CopyError::Replica)?.map_err(CopyError::Store)
    }

    /// Generations of deployments after `after`, up to `to` if given.
    pub async fn generations(
        &self,
        after: Option<&DeploymentId>,
        to: Option<&DeploymentId>,
    ) -> Result<HashMap<DeploymentId, Generation>, StoreError> {
        let all =
            self.read().run(async |conn| deployment::generations(conn, after, to, u32::MAX).await).await?;
        Ok(all.into_iter().collect())
    }

    /// Syncs the boundaries; writes only differences.
    pub async fn copy_boundaries(&self, store: &Store) -> Result<(), CopyError> {
        let known = self.boundaries_stamp().await.map_err(CopyError::Replica)?;
        let boundaries = store.read().boundaries(Some(known)).await.map_err(CopyError::Store)?;
        self.replace_boundaries(boundaries).await.map_err(CopyError::Replica)
    }

    async fn boundaries_stamp(&self) -> Result<boundary::Stamp, StoreError> {
        self.read().run(async |conn| boundary::stamp(conn).await).await
    }

    async fn replace_boundaries(&self, boundaries: Option<Boundaries>) -> Result<(), StoreError> {
        let Some(boundaries) = boundaries else { return Ok(()) };
        self.write(async |conn| boundary::replace(conn, &boundaries).await).await
    }

    /// Syncs the sealed records with `from <= name < before`. Returns whether any differed.
    pub async fn copy_secrets(&self, store: &Store, from: &str, before: &str) -> Result<bool, CopyError> {
        let (from, before) = (of_the_program(from), of_the_program(before));
        let read = async |conn: &mut AnyConnection| secret::all_sealed(conn, &from, &before).await;
        let there = store.read().run(read).await.map_err(CopyError::Store)?;
        let replace = async {
            if self.read().run(read).await? == there {
                return Ok(false);
            }
            let write = async |conn: &mut AnyConnection| {
                secret::remove(conn, &from, &before).await?;
                for record in &there {
                    secret::write_sealed(conn, record).await?;
                }
                Ok(())
            };
            self.write(write).await?;
            self.checkpoint().await?;
            Ok(true)
        };
        replace.await.map_err(CopyError::Replica)
    }
}

async fn write_mark(
    conn: &mut AnyConnection,
    before: Option<Generation>,
    read: &SourceState,
) -> Result<(), StoreError> {
    if let Some(mark) = read.mark.filter(|mark| before.is_none_or(|before| *mark >= before)) {
        set_mark(conn, mark).await?;
        if let Some(landmark) = &read.landmark {
            feed::keep_only(conn, landmark).await?;
        }
    }
    Ok(())
}

/// At once if many, unless one of them cannot be read.
async fn page_rows(
    conn: &mut AnyConnection,
    ids: &[DeploymentId],
) -> Result<Vec<CopiedDeployment>, StoreError> {
    if let [first, .., last] = ids
        && ids.len() > ONE_BY_ONE_MAX
        && let Ok(found) = rows::between(conn, first, last).await
    {
        return Ok(found.into_iter().map(CopiedDeployment::whole).collect());
    }
    rows::each(conn, ids).await
}
