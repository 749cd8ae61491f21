//! A node's replica, an embedded database of the store's schema, which it serves from while the
//! store is down. It holds deployments with hosts, the served version and the fallback, and ticket
//! keys, all *still sealed*, and the check value; no API secrets, request log or audit. Readers opt
//! in ([`Records`]), nothing flows back, and a defective replica is made again.
//!
//! The *mark* is the generation up to which it is complete, with that feed row's fingerprint, which
//! tells a restored store from the copied one.

use std::{
    collections::HashMap,
    fmt, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use certward_pki::{HostName, PrivateKey};
use parking_lot::RwLock;
use sqlx::{
    Any, AnyConnection, AnyPool, ConnectOptions, Connection, Transaction, any::AnyConnectOptions,
    pool::PoolConnection,
};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    Boundaries, Deployment, DeploymentId, FeedPosition, Generation, Listed, MasterKey, Reading, Records,
    Stamp, Store, StoreError, Version, VersionId,
    engine::{
        data_folder::{database_url, look_at_side_files, private_file},
        own_file::look_at_own_file,
        pool::{sqlite_pool, step},
        row, schema,
    },
    replica::rows::{self, CopiedDeployment},
    repo::{boundary, deployment, feed, host, version},
    sealed::{sealing::Sealer, secret},
    store::of_the_program,
};

/// Names not in memory while the store is down.
const READERS: u32 = 4;
/// Above it, a page is read whole.
const ONE_BY_ONE_MAX: usize = 20;
/// Row of `counter` for the mark.
const MARK: &str = "copied";

/// A node's replica. For PostgreSQL only: an embedded store is on the node's disk anyway.
pub struct Replica {
    path: PathBuf,
    sealer: Arc<Sealer>,
    pools: RwLock<Option<Pools>>,
}

#[derive(Clone)]
struct Pools {
    writer: AnyPool,
    reader: AnyPool,
}

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

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Replica {
    /// The replica's path in this data folder (mode 0600).
    pub fn file_in(folder: &Path) -> PathBuf {
        folder.join("snapshot.db")
    }

    /// The replica of this data folder. Does no I/O yet.
    pub fn at(folder: &Path, master_key: &MasterKey) -> Self {
        Self {
            path: Self::file_in(folder),
            sealer: Arc::new(Sealer::new(master_key)),
            pools: RwLock::default(),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens an existing replica; `false` if there is none.
    ///
    /// # Errors
    /// [`StoreError::WrongMasterKey`]; [`StoreError::Corrupt`] if it is no replica, or was
    /// accessible to others; [`StoreError::TooNew`]; [`StoreError::Unavailable`].
    pub async fn open(&self) -> Result<bool, StoreError> {
        sqlx::any::install_default_drivers();
        look_at_own_file(&self.path)?;
        look_at_side_files(&self.path)?;
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(self.unavailable(&error)),
            Ok(found) if found.len() == 0 => return Ok(false),
            // Write access could change what this node trusts.
            Ok(found) if found.permissions().mode() & 0o077 != 0 => {
                return Err(StoreError::corrupt("its mode is not 0600: others could read or change it"));
            }
            Ok(_) => {}
        }
        self.probe().await?;
        let pools = self.connect().await?;
        let opened = self.check(&pools).await;
        if opened.is_err() {
            close(&pools).await;
        }
        if opened? {
            self.hold(Some(pools));
            return Ok(true);
        }
        Ok(false)
    }

    /// A pool would retry a non-database forever.
    async fn probe(&self) -> Result<(), StoreError> {
        let options = database_url(&self.path)?.parse::<AnyConnectOptions>()?.disable_statement_logging();
        step(async {
            let mut conn = AnyConnection::connect_with(&options).await?;
            sqlx::query("SELECT count(*) FROM sqlite_master").fetch_one(&mut conn).await?;
            Ok(conn.close().await?)
        })
        .await
    }

    /// `false` if its creation was interrupted.
    async fn check(&self, pools: &Pools) -> Result<bool, StoreError> {
        let mut tx = begin(pools).await?;
        step(async {
            if schema::STORE.version(&mut tx).await? == 0 {
                return Ok(false);
            }
            schema::STORE.migrate(&mut tx).await?;
            let Some(check) = secret::sealed_check(&mut tx).await? else { return Ok(false) };
            secret::verify_check(&self.sealer, &check)?;
            tx.commit().await?;
            Ok(true)
        })
        .await
    }

    /// Makes an empty replica of this store, replacing any other.
    ///
    /// # Errors
    /// [`CopyError`].
    pub async fn make(&self, store: &Store) -> Result<(), CopyError> {
        let mut conn = store.read().await.map_err(CopyError::Store)?;
        let check = step(secret::sealed_check(&mut conn)).await.map_err(CopyError::Store)?;
        let check = check.ok_or(CopyError::Store(StoreError::NotInitialised))?;
        drop(conn);
        self.make_with(&check).await.map_err(CopyError::Replica)
    }

    async fn make_with(&self, check: &[u8]) -> Result<(), StoreError> {
        sqlx::any::install_default_drivers();
        self.discard().await?;
        private_file(&self.path)?;
        let pools = self.connect().await?;
        let made = async {
            let mut tx = begin(&pools).await?;
            step(async {
                schema::STORE.migrate(&mut tx).await?;
                secret::write_check(&mut tx, check).await?;
                Ok(tx.commit().await?)
            })
            .await
        };
        match made.await {
            Ok(()) => {
                self.hold(Some(pools));
                Ok(())
            }
            Err(error) => {
                close(&pools).await;
                Err(error)
            }
        }
    }

    /// Removes it durably.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn discard(&self) -> Result<(), StoreError> {
        self.close().await;
        for suffix in ["", "-wal", "-shm"] {
            let mut path = self.path.clone().into_os_string();
            path.push(suffix);
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.unavailable(&error)),
            }
        }
        // Otherwise a power loss could restore it.
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| self.unavailable(&error))
    }

    /// Closes it without removing it.
    pub async fn close(&self) {
        let pools = self.pools.write().take();
        if let Some(pools) = pools {
            close(&pools).await;
        }
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.pools().is_ok()
    }

    /// The mark. `None`: never complete, any deployment may be missing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn mark(&self) -> Result<Option<Generation>, StoreError> {
        let mut conn = self.read().await?;
        step(mark_in(&mut conn)).await
    }

    /// The newest durable change of a deployment; `None`: not in the replica.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn generation_of(&self, id: &DeploymentId) -> Result<Option<Generation>, StoreError> {
        let mut conn = self.read().await?;
        step(rows::generation_of(&mut conn, id)).await
    }

    /// A snapshot for several reads.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn reading(&self) -> Result<Reading, StoreError> {
        let reader = self.pools()?.reader;
        let tx = step(async { Ok(reader.begin_with("BEGIN").await?) }).await?;
        Ok(Reading::of_replica(tx, Arc::clone(&self.sealer)))
    }

    /// As [`Replica::mark`], with the row's nonce if known.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn mark_position(&self) -> Result<Option<FeedPosition>, StoreError> {
        let Some(mark) = self.mark().await? else { return Ok(None) };
        let found = self.landmark(mark).await?;
        let unknown = FeedPosition { generation: mark, nonce: 0 };
        Ok(Some(found.map_or(unknown, |found| found.position)))
    }

    /// Removes the mark, durably.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget_mark(&self) -> Result<(), StoreError> {
        let mut tx = begin(&self.pools()?).await?;
        step(async {
            sqlx::query("DELETE FROM counter WHERE name = $1").bind(MARK).execute(&mut *tx).await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    /// Whether it copies this store's present history, not one replaced by a backup.
    ///
    /// # Errors
    /// [`CopyError`].
    pub async fn is_of(&self, store: &Store) -> Result<bool, CopyError> {
        let here = async {
            let mut conn = self.read().await?;
            step(secret::sealed_check(&mut conn)).await
        };
        let check = here.await.map_err(CopyError::Replica)?;
        let mark = self.mark().await.map_err(CopyError::Replica)?;
        let landmark = match mark {
            Some(mark) => self.landmark(mark).await.map_err(CopyError::Replica)?,
            None => None,
        };
        let there = async {
            let mut tx = store.begin_reading().await?;
            step(async {
                if secret::sealed_check(&mut tx).await? != check {
                    return Ok(false);
                }
                let Some(mark) = mark else { return Ok(true) };
                if mark > feed::newest(&mut tx).await? {
                    return Ok(false);
                }
                if landmark.is_none() || feed::is_pruned(&mut tx, mark).await? {
                    return Ok(true);
                }
                Ok(feed::landmark(&mut tx, mark).await? == landmark)
            })
            .await
        };
        there.await.map_err(CopyError::Store)
    }

    async fn landmark(&self, mark: Generation) -> Result<Option<feed::FeedFingerprint>, StoreError> {
        let mut conn = self.read().await?;
        step(feed::landmark(&mut conn, mark)).await
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
        let read = async {
            // Separate from requests, all of which may wait for a joining node that waits for this
            // copy.
            let mut tx = store.begin_reading_as_member().await?;
            step(async {
                let boundaries = boundary::unless_known(&mut tx, Some(known)).await?;
                let copied = rows::each(&mut tx, ids).await?;
                let mut landmark = None;
                if let Some(mark) = mark {
                    if feed::ancestry(&mut tx, mark).await? != feed::Ancestry::Own {
                        return Err(StoreError::unavailable("its history is not the one that was read"));
                    }
                    landmark = feed::landmark(&mut tx, mark.generation).await?;
                }
                let mark = mark.map(|mark| mark.generation);
                let read = SourceState { newest: feed::newest(&mut tx).await?, mark, landmark };
                Ok((boundaries, copied, read))
            })
            .await
        };
        let (boundaries, copied, read) = read.await.map_err(CopyError::Store)?;
        self.replace_boundaries(boundaries).await.map_err(CopyError::Replica)?;
        self.write(&copied, &read).await.map_err(CopyError::Replica)?;
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
        let mut tx = store.begin_reading().await.map_err(CopyError::Store)?;
        let page =
            step(deployment::generations(&mut tx, after, None, limit)).await.map_err(CopyError::Store)?;
        // The last page is open-ended, to remove extra rows.
        let last =
            if (page.len() as u64) < u64::from(limit) { None } else { page.last().map(|(id, _)| id.clone()) };
        let mut here = self.generations(after, last.as_ref()).await.map_err(CopyError::Replica)?;
        let mut is_new = |(id, generation): &(DeploymentId, Generation)| here.remove(id) != Some(*generation);
        let mut differ: Vec<DeploymentId> =
            page.into_iter().filter(|it| is_new(it)).map(|(id, _)| id).collect();
        let read = step(async {
            let mut copied = Vec::new();
            if let [first, .., end] = &differ[..]
                && differ.len() > ONE_BY_ONE_MAX
                && let Ok(found) = rows::between(&mut tx, first, end).await
            {
                copied.extend(found.into_iter().map(CopiedDeployment::Whole));
                differ.clear();
            }
            copied.extend(rows::each(&mut tx, &differ).await?);
            let newest = feed::newest(&mut tx).await?;
            Ok((copied, SourceState { newest, mark: None, landmark: None }))
        });
        let (mut copied, read) = read.await.map_err(CopyError::Store)?;
        drop(tx);
        copied.extend(here.into_keys().map(CopiedDeployment::Gone));
        if !copied.is_empty() {
            self.write(&copied, &read).await.map_err(CopyError::Replica)?;
        }
        Ok(last)
    }

    /// With a mark, neither it nor a deployment goes back: during a take-over two processes may
    /// write. Without, all follows the store.
    async fn write(&self, copied: &[CopiedDeployment], read: &SourceState) -> Result<(), StoreError> {
        let pools = self.pools()?;
        let mut tx = begin(&pools).await?;
        let erased = step(async {
            let before = mark_in(&mut tx).await?;
            let mut erased = false;
            for copied in copied {
                if before.is_none() || !rows::is_older(&mut tx, copied, read.newest).await? {
                    erased |= rows::write(&mut tx, copied).await?;
                }
            }
            if let Some(mark) = read.mark.filter(|mark| before.is_none_or(|before| *mark >= before)) {
                sqlx::query(
                    "INSERT INTO counter (name, value) VALUES ($1, $2)
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                )
                .bind(MARK)
                .bind(mark.0)
                .execute(&mut *tx)
                .await?;
                if let Some(landmark) = &read.landmark {
                    feed::keep_only(&mut tx, landmark).await?;
                }
            }
            tx.commit().await?;
            Ok(erased)
        })
        .await?;
        if erased { checkpoint(&pools).await } else { Ok(()) }
    }

    /// The generations of deployments after `after`, up to `to` if given.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn generations(
        &self,
        after: Option<&DeploymentId>,
        to: Option<&DeploymentId>,
    ) -> Result<HashMap<DeploymentId, Generation>, StoreError> {
        let mut conn = self.read().await?;
        Ok(step(deployment::generations(&mut conn, after, to, u32::MAX)).await?.into_iter().collect())
    }

    /// Deployments by id after `after`, at most `limit`, with hosts. Includes unreadable ones:
    /// their names must not reach another deployment.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn hosts_after(
        &self,
        after: Option<&DeploymentId>,
        limit: u32,
    ) -> Result<Vec<Listed>, StoreError> {
        let mut conn = self.read().await?;
        step(host::by_deployment(&mut conn, after, limit)).await
    }

    /// As [`Store::first_of`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn first_of(&self, names: &[HostName]) -> Result<Option<(HostName, DeploymentId)>, StoreError> {
        let mut conn = self.read().await?;
        step(host::first_of(&mut conn, names)).await
    }

    /// As [`Store::secret`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn secret(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let mut conn = self.read().await?;
        step(secret::find(&mut conn, &self.sealer, &of_the_program(name))).await
    }

    /// See [`Store::boundaries`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn boundaries(&self) -> Result<Boundaries, StoreError> {
        let mut conn = self.read().await?;
        Ok(step(boundary::unless_known(&mut conn, None)).await?.unwrap_or_default())
    }

    /// Syncs the boundaries; writes only differences.
    ///
    /// # Errors
    /// [`CopyError`].
    pub async fn copy_boundaries(&self, store: &Store) -> Result<(), CopyError> {
        let known = self.boundaries_stamp().await.map_err(CopyError::Replica)?;
        let boundaries = store.boundaries(Some(known)).await.map_err(CopyError::Store)?;
        self.replace_boundaries(boundaries).await.map_err(CopyError::Replica)
    }

    async fn boundaries_stamp(&self) -> Result<Stamp, StoreError> {
        let mut conn = self.read().await?;
        step(boundary::stamp(&mut conn)).await
    }

    async fn replace_boundaries(&self, boundaries: Option<Boundaries>) -> Result<(), StoreError> {
        let Some(boundaries) = boundaries else { return Ok(()) };
        let mut tx = begin(&self.pools()?).await?;
        step(async {
            boundary::replace(&mut tx, &boundaries).await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    /// Syncs the sealed records with `from <= name < before`. Returns whether any differed.
    ///
    /// # Errors
    /// [`CopyError`].
    pub async fn copy_secrets(&self, store: &Store, from: &str, before: &str) -> Result<bool, CopyError> {
        let (from, before) = (of_the_program(from), of_the_program(before));
        let there = async {
            let mut conn = store.read().await?;
            step(secret::all_sealed(&mut conn, &from, &before)).await
        };
        let there = there.await.map_err(CopyError::Store)?;
        let write = async {
            let pools = self.pools()?;
            let mut conn = pools.reader.acquire().await?;
            let here = step(secret::all_sealed(&mut conn, &from, &before)).await?;
            drop(conn);
            if here == there {
                return Ok(false);
            }
            let mut tx = begin(&pools).await?;
            step(async {
                secret::remove(&mut tx, &from, &before).await?;
                for record in &there {
                    secret::write_sealed(&mut tx, record).await?;
                }
                Ok(tx.commit().await?)
            })
            .await?;
            checkpoint(&pools).await?;
            Ok(true)
        };
        write.await.map_err(CopyError::Replica)
    }

    /// As [`Store::remove_secrets`]; erased content is overwritten.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remove_secrets(&self, from: &str, before: &str) -> Result<u64, StoreError> {
        let pools = self.pools()?;
        let mut tx = begin(&pools).await?;
        let removed = step(async {
            let removed = secret::remove(&mut tx, &of_the_program(from), &of_the_program(before)).await?;
            tx.commit().await?;
            Ok(removed)
        })
        .await?;
        if removed > 0 {
            checkpoint(&pools).await?;
        }
        Ok(removed)
    }

    async fn connect(&self) -> Result<Pools, StoreError> {
        let url = database_url(&self.path)?;
        // The other writer is a process that hands this node over.
        let settings = "PRAGMA busy_timeout = 1000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;";
        let writer = sqlite_pool(&url, 1, settings).await?;
        let reader = sqlite_pool(&url, READERS, "PRAGMA query_only = ON;").await?;
        Ok(Pools { writer, reader })
    }

    async fn read(&self) -> Result<PoolConnection<Any>, StoreError> {
        Ok(self.pools()?.reader.acquire().await?)
    }

    fn pools(&self) -> Result<Pools, StoreError> {
        let pools = self.pools.read();
        pools.clone().ok_or_else(|| StoreError::unavailable("there is no replica"))
    }

    fn hold(&self, pools: Option<Pools>) {
        *self.pools.write() = pools;
    }

    fn unavailable(&self, error: &io::Error) -> StoreError {
        StoreError::Unavailable(format!("{}: {error}", self.path.display()))
    }
}

struct SourceState {
    newest: Generation,
    mark: Option<Generation>,
    landmark: Option<feed::FeedFingerprint>,
}

async fn mark_in(conn: &mut AnyConnection) -> Result<Option<Generation>, StoreError> {
    let row =
        sqlx::query("SELECT value FROM counter WHERE name = $1").bind(MARK).fetch_optional(conn).await?;
    row.map(|row| row::integer(&row, "value").map(Generation)).transpose()
}

async fn begin(pools: &Pools) -> Result<Transaction<'static, Any>, StoreError> {
    step(async { Ok(pools.writer.begin_with("BEGIN IMMEDIATE").await?) }).await
}

/// The WAL still holds overwritten content.
async fn checkpoint(pools: &Pools) -> Result<(), StoreError> {
    let mut conn = pools.writer.acquire().await?;
    step(async { Ok(sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut *conn).await?) }).await?;
    Ok(())
}

async fn close(pools: &Pools) {
    let closed = step(async {
        pools.reader.close().await;
        pools.writer.close().await;
        Ok(())
    });
    // Connections in use close soon: every step is bounded.
    let _ = closed.await;
}

impl Records for Replica {
    async fn deployment(&self, id: &DeploymentId) -> Result<Option<Deployment>, StoreError> {
        let mut conn = self.read().await?;
        step(deployment::find(&mut conn, id)).await
    }

    async fn version(
        &self,
        deployment: &DeploymentId,
        version: VersionId,
    ) -> Result<Option<Version>, StoreError> {
        let mut conn = self.read().await?;
        step(version::find(&mut conn, deployment, version)).await
    }

    async fn last_proven_version(
        &self,
        deployment: &DeploymentId,
        before: VersionId,
    ) -> Result<Option<Version>, StoreError> {
        let mut conn = self.read().await?;
        step(version::last_proven(&mut conn, deployment, before)).await
    }

    async fn private_key(
        &self,
        deployment: &DeploymentId,
        version: VersionId,
    ) -> Result<Option<PrivateKey>, StoreError> {
        let mut conn = self.read().await?;
        step(version::private_key(&mut conn, &self.sealer, deployment, version)).await
    }
}
