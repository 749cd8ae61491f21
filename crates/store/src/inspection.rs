//! A store opened to be looked at, beside the process that uses it.
//!
//! Nothing is migrated, created, locked or written, and no mode of a file is changed. What cannot
//! be read is an error of that one question.

use std::sync::Arc;

use sqlx::{AnyConnection, AnyPool, Connection, Row};

use crate::{
    Address, MasterKeyRing, Reader, StoreError, Timestamp,
    engine::{
        data_folder::{DataFolder, database_url, look_at_side_files},
        durability,
        own_file::{existing_own_folder, look_at_own_file},
        pool::{postgres_pool, sqlite_pool, step},
        row, schema,
    },
    postgres::primary::PrimaryTracker,
    sealed::secret,
};

/// See the module. Drop it after [`StoreInspection::close`].
#[derive(Debug)]
pub struct StoreInspection {
    pool: AnyPool,
    /// Of PostgreSQL.
    primary: Option<Arc<PrimaryTracker>>,
}

/// Whether this program can read a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaState {
    /// Its own schema, or a newer compatible one.
    Current,
    /// The next start of this program migrates it.
    Older {
        /// The store's schema.
        version: i64,
        /// This program's.
        newest: i64,
    },
}

impl StoreInspection {
    /// Opens a store that [`crate::Store::init`] made.
    ///
    /// # Errors
    /// [`StoreError::NotInitialised`], [`StoreError::NotOwn`], [`StoreError::Corrupt`],
    /// [`StoreError::Unavailable`].
    pub async fn open(address: &Address) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        match address {
            Address::Embedded(folder) => {
                if !folder.join(DataFolder::STORE).exists() {
                    return Err(StoreError::NotInitialised);
                }
                let (folder, _) = existing_own_folder(folder)?;
                let store = folder.join(DataFolder::STORE);
                look_at_own_file(&store)?;
                look_at_side_files(&store)?;
                let url = database_url(&store)?;
                read_schema(&url).await?;
                let pool = sqlite_pool(&url, EMBEDDED_CONNECTIONS, "PRAGMA query_only = ON;").await?;
                Ok(Self { pool, primary: None })
            }
            Address::Postgres(servers) => {
                let primary = PrimaryTracker::open(servers.clone()).await?;
                Ok(Self { pool: postgres_pool(&primary, INSPECTING_CONNECTIONS)?, primary: Some(primary) })
            }
        }
    }

    /// The server in use, of PostgreSQL.
    pub fn primary(&self) -> Option<String> {
        self.primary.as_ref().map(|primary| primary.server().name().to_owned())
    }

    /// # Errors
    /// [`StoreError::NotInitialised`], [`StoreError::TooNew`].
    pub async fn schema(&self) -> Result<SchemaState, StoreError> {
        self.ask(async |conn| {
            let (version, newest) = (schema::STORE.version(conn).await?, schema::STORE.newest());
            if version == 0 {
                return Err(StoreError::NotInitialised);
            }
            schema::STORE.refuse_newer(conn).await?;
            Ok(if version < newest { SchemaState::Older { version, newest } } else { SchemaState::Current })
        })
        .await
    }

    /// The first faults of an embedded store's file, empty if it is sound. Reads all of it, without
    /// a time limit.
    pub async fn faults(&self) -> Result<Vec<String>, StoreError> {
        if self.primary.is_some() {
            return Ok(Vec::new());
        }
        let mut conn = self.pool.acquire().await?;
        let rows = sqlx::raw_sql("PRAGMA quick_check(5)").fetch_all(&mut *conn).await?;
        let faults = rows.iter().map(|row| Ok(row.try_get::<String, _>(0)?));
        let faults: Vec<String> = faults.collect::<Result<_, StoreError>>()?;
        Ok(if faults == ["ok"] { Vec::new() } else { faults })
    }

    /// Settings of PostgreSQL that can lose acknowledged changes, each with its remedy.
    pub async fn risks(&self) -> Result<Vec<&'static str>, StoreError> {
        self.ask(async |conn| durability::risks(conn).await).await
    }

    /// The database's clock, of PostgreSQL.
    pub async fn database_time(&self) -> Result<Option<Timestamp>, StoreError> {
        if self.primary.is_none() {
            return Ok(None);
        }
        self.ask(async |conn| {
            let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now";
            Ok(Some(Timestamp(row::integer(&sqlx::query(sql).fetch_one(conn).await?, "now")?)))
        })
        .await
    }

    /// When the newest of what is stored was written.
    pub async fn newest_time(&self) -> Result<Option<Timestamp>, StoreError> {
        self.ask(async |conn| {
            let mut newest = None;
            for sql in [
                "SELECT max(created_at) AS newest FROM version",
                "SELECT max(created_at) AS newest FROM deployment",
                "SELECT max(created_at) AS newest FROM api_key",
                "SELECT value AS newest FROM counter WHERE name = 'clock'",
            ] {
                let found = sqlx::query(sql).fetch_optional(&mut *conn).await?;
                let found = found.map(|found| row::integer_or_null(&found, "newest")).transpose()?;
                newest = newest.max(found.flatten().filter(|at| *at > 0));
            }
            Ok(newest.map(Timestamp))
        })
        .await
    }

    /// How many deployments there are.
    pub async fn deployments(&self) -> Result<u64, StoreError> {
        self.ask(async |conn| {
            let row = sqlx::query("SELECT count(*) AS count FROM deployment").fetch_one(conn).await?;
            Ok(u64::try_from(row::integer(&row, "count")?).unwrap_or_default())
        })
        .await
    }

    /// Whether the store is that of these master keys.
    ///
    /// # Errors
    /// [`StoreError::WrongMasterKey`].
    pub async fn verify(&self, keys: &MasterKeyRing) -> Result<(), StoreError> {
        self.ask(async |conn| secret::api_secrets_key(conn, keys).await.map(|_| ())).await
    }

    /// All reads of a store. Without the right master keys, those of sealed records fail.
    pub fn read(&self, keys: &MasterKeyRing) -> Reader {
        Reader::of_replica(Some(self.pool.clone()), keys)
    }

    /// Waits for reads in progress.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut conn = self.pool.acquire().await?;
        step(question(&mut conn)).await
    }
}

/// A pool would try a damaged file again until its timeout, and not say why.
async fn read_schema(url: &str) -> Result<(), StoreError> {
    let mut conn = AnyConnection::connect(url).await?;
    let read = step(async {
        sqlx::query("SELECT count(*) FROM sqlite_master").fetch_one(&mut conn).await?;
        Ok(())
    });
    let read = read.await;
    let _ = conn.close().await;
    read
}

/// A check of the whole file may be left alone, and goes on.
const EMBEDDED_CONNECTIONS: u32 = 2;
/// Leaves the database's connections to the nodes.
const INSPECTING_CONNECTIONS: u32 = 1;
