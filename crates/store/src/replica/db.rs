//! A node's replica: an embedded database of the store's schema, to serve from while the store is
//! down. It holds deployments with hosts, served version and fallback, ticket keys, all *still
//! sealed*, and the check value; no API secrets, request log or audit. Nothing flows back; a
//! defective replica is made again.
//!
//! The *mark*: the generation up to which it is complete, with that feed row's fingerprint, which
//! tells a restored store from the copied one.

use std::{
    fmt, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use parking_lot::RwLock;
use sqlx::{Any, AnyConnection, AnyPool, ConnectOptions, Connection, Transaction, any::AnyConnectOptions};

use crate::{
    DeploymentId, FeedPosition, Generation, MasterKeyRing, Reader, StoreError,
    engine::{
        data_folder::{database_url, look_at_side_files, private_file},
        own_file::look_at_own_file,
        pool::{sqlite_pool, step, transact},
        row, schema,
    },
    replica::{origin::StoreOrigin, rows},
    repo::{feed, secret::of_the_program},
    sealed::secret,
};

/// Names not in memory while the store is down.
const READERS: u32 = 4;
/// Row of `counter` for the mark.
const MARK: &str = "copied";

/// A node's replica, for PostgreSQL only: an embedded store is on the node's disk anyway.
///
/// # Errors
/// Every call: [`StoreError::Unavailable`], [`StoreError::Corrupt`].
pub struct Replica {
    path: PathBuf,
    keys: MasterKeyRing,
    pools: RwLock<Option<Pools>>,
}

#[derive(Clone)]
struct Pools {
    writer: AnyPool,
    reader: AnyPool,
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Replica {
    /// The path in this data folder (mode 0600).
    pub fn file_in(folder: &Path) -> PathBuf {
        folder.join("snapshot.db")
    }

    /// The replica of this data folder. Does no I/O.
    pub fn at(folder: &Path, keys: impl Into<MasterKeyRing>) -> Self {
        Self { path: Self::file_in(folder), keys: keys.into(), pools: RwLock::default() }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens an existing replica; `false` if there is none.
    ///
    /// # Errors
    /// [`StoreError::WrongMasterKey`], [`StoreError::MasterKeyReplaced`],
    /// [`StoreError::RekeyNeedsKey`]; [`StoreError::Corrupt`] if it is no replica, or was
    /// accessible to others; [`StoreError::TooNew`].
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
            if !secret::is_initialised(&mut tx).await? {
                return Ok(false);
            }
            let key = secret::verify(&mut tx, &self.keys).await?;
            tx.commit().await?;
            self.keys.set_replica(Some(key.oldest()));
            Ok(true)
        })
        .await
    }

    pub(crate) async fn make_with(&self, origin: &StoreOrigin) -> Result<(), StoreError> {
        sqlx::any::install_default_drivers();
        self.discard().await?;
        private_file(&self.path)?;
        let pools = self.connect().await?;
        let made = async {
            let make = async |conn: &mut AnyConnection| {
                schema::STORE.migrate(conn).await?;
                origin.write(conn).await
            };
            transact(begin(&pools).await?, make).await
        };
        match made.await {
            Ok(()) => {
                self.keys.set_replica(Some(origin.key.oldest()));
                self.hold(Some(pools));
                Ok(())
            }
            Err(error) => {
                close(&pools).await;
                Err(error)
            }
        }
    }

    pub(crate) fn keys(&self) -> &MasterKeyRing {
        &self.keys
    }

    /// Removes it durably.
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
        self.keys.set_replica(None);
        // Otherwise a power loss could restore it.
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| self.unavailable(&error))
    }

    /// Closes it.
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

    /// Reads, each with a connection of its own.
    pub fn read(&self) -> Reader {
        let pools = self.pools.read();
        Reader::of_replica(pools.as_ref().map(|pools| pools.reader.clone()), &self.keys)
    }

    /// Reads of one snapshot.
    pub async fn snapshot(&self) -> Result<Reader, StoreError> {
        let reader = self.pools()?.reader;
        let tx = step(async { Ok(reader.begin_with("BEGIN").await?) }).await?;
        Ok(Reader::of_snapshot(tx, &self.keys))
    }

    /// The mark. `None`: never complete, any deployment may be missing.
    pub async fn mark(&self) -> Result<Option<Generation>, StoreError> {
        self.read().run(async |conn| mark(conn).await).await
    }

    /// As [`Replica::mark`], with the row's nonce if known.
    pub async fn mark_position(&self) -> Result<Option<FeedPosition>, StoreError> {
        let find = async |conn: &mut AnyConnection| {
            let Some(mark) = mark(conn).await? else { return Ok(None) };
            let found = feed::landmark(conn, mark).await?;
            let unknown = FeedPosition { generation: mark, nonce: 0 };
            Ok(Some(found.map_or(unknown, |found| found.position)))
        };
        self.read().run(find).await
    }

    /// The newest durable change of a deployment; `None`: not in the replica.
    pub async fn generation_of(&self, id: &DeploymentId) -> Result<Option<Generation>, StoreError> {
        self.read().run(async |conn| rows::generation_of(conn, id).await).await
    }

    /// Removes the mark, durably.
    pub async fn forget_mark(&self) -> Result<(), StoreError> {
        let forget = async |conn: &mut AnyConnection| {
            sqlx::query("DELETE FROM counter WHERE name = $1").bind(MARK).execute(conn).await?;
            Ok(())
        };
        self.write(forget).await
    }

    /// As [`crate::Store::remove_secrets`]; erased content is overwritten.
    pub async fn remove_secrets(&self, from: &str, before: &str) -> Result<u64, StoreError> {
        let (from, before) = (of_the_program(from), of_the_program(before));
        let removed = self.write(async |conn| secret::remove(conn, &from, &before).await).await?;
        if removed > 0 {
            self.checkpoint().await?;
        }
        Ok(removed)
    }

    /// One durable transaction.
    pub(crate) async fn write<T>(
        &self,
        work: impl AsyncFnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        transact(begin(&self.pools()?).await?, work).await
    }

    /// The WAL still holds overwritten content.
    pub(crate) async fn checkpoint(&self) -> Result<(), StoreError> {
        let mut conn = self.pools()?.writer.acquire().await?;
        step(async { Ok(sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut *conn).await?) }).await?;
        Ok(())
    }

    async fn connect(&self) -> Result<Pools, StoreError> {
        let url = database_url(&self.path)?;
        // The other writer is a process that hands this node over.
        let settings = "PRAGMA busy_timeout = 1000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;";
        let writer = sqlite_pool(&url, 1, settings).await?;
        let reader = sqlite_pool(&url, READERS, "PRAGMA query_only = ON;").await?;
        Ok(Pools { writer, reader })
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

pub(crate) async fn mark(conn: &mut AnyConnection) -> Result<Option<Generation>, StoreError> {
    let row =
        sqlx::query("SELECT value FROM counter WHERE name = $1").bind(MARK).fetch_optional(conn).await?;
    row.map(|row| row::integer(&row, "value").map(Generation)).transpose()
}

pub(crate) async fn set_mark(conn: &mut AnyConnection, mark: Generation) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO counter (name, value) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(MARK)
    .bind(mark.0)
    .execute(conn)
    .await?;
    Ok(())
}

async fn begin(pools: &Pools) -> Result<Transaction<'static, Any>, StoreError> {
    step(async { Ok(pools.writer.begin_with("BEGIN IMMEDIATE").await?) }).await
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
