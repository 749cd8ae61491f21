//! Opens both engines and configures their connections.

use std::{io, sync::Arc, time::Duration};

use sqlx::{
    Any, AnyConnection, AnyPool, ConnectOptions, Connection, Transaction,
    any::{AnyConnectOptions, AnyPoolOptions},
    pool::PoolConnection,
};

use crate::{
    Address, Clock, StoreError, Timestamp,
    engine::{
        data_folder::DataFolder,
        lock, row,
        schema::{self, SchemaPart},
    },
    postgres::{
        primary::{PrimaryTracker, TrackerTask},
        servers::Servers,
    },
};

/// Wait for a connection or a lock.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// A lock's wait and the statement, over a network that may be silent.
const STEP_TIMEOUT: Duration = Duration::from_secs(12);
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// Each is a thread with an allocator arena, statements and pages; most reads take 0.1 ms.
const SQLITE_READERS: u32 = 2;
/// Eight nodes within PostgreSQL's default of 97: each has these, [`MEMBERSHIP_CONNECTIONS`], one
/// to listen and one to probe.
const POSTGRES_CONNECTIONS: u32 = 7;
/// To read the feed, renew a lease and load changes; separate, see `Store::read_as_member`.
const MEMBERSHIP_CONNECTIONS: u32 = 3;

const SQLITE_BUSY_TIMEOUT: &str = "PRAGMA busy_timeout = 5000;";
/// Deleted rows are overwritten, nothing temporary reaches the disk. The page cache is 64 KiB, not
/// 2 MiB: four of those would be a node's largest part, and the system caches the same pages.
const SQLITE_SETTINGS: &str = "PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; \
     PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF; PRAGMA journal_size_limit = 16777216; \
     PRAGMA cache_size = -64;";

/// The locks need READ COMMITTED: a statement after a lock sees what the lock waited for. A node
/// that is cut off must not hold locks longer than others wait.
///
/// Plan settings: statements take a few rows in index order; without statistics the planner expects
/// a tenth of a table and reads all of it for a page of 1000 rows.
const POSTGRES_SETTINGS: &str = "SET default_transaction_isolation = 'read committed'; SET synchronous_commit = on; \
     SET statement_timeout = '5s'; SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '15s'; \
     SET tcp_user_timeout = '10s'; SET plan_cache_mode = force_custom_plan; SET enable_seqscan = off; \
     SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off;";

/// A node stopped inside a transaction (SIGSTOP, a paused VM) holds its locks for two seconds at
/// most; none here idles so long.
const POSTGRES_BEGIN: &str = "BEGIN READ WRITE; SET LOCAL idle_in_transaction_session_timeout = '2s'";

#[derive(Debug)]
pub(crate) struct Engine {
    writer: AnyPool,
    reader: AnyPool,
    requests: AnyPool,
    membership: MembershipPools,
    folder: Option<DataFolder>,
    tracker: Option<(Arc<PrimaryTracker>, TrackerTask)>,
}

#[derive(Debug)]
struct MembershipPools {
    writer: AnyPool,
    reader: AnyPool,
}

impl Engine {
    /// `create` makes missing files, but no tables.
    pub(crate) async fn open(address: &Address, create: bool) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        match address {
            Address::Embedded(path) => Self::open_sqlite(DataFolder::open(path, create)?).await,
            Address::Postgres(servers) => Self::open_postgres(servers).await,
        }
    }

    /// As [`Engine::open`], without the folder's lock.
    pub(crate) async fn open_beside(address: &Address) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        match address {
            Address::Embedded(path) => Self::open_sqlite(DataFolder::open_beside(path)?).await,
            Address::Postgres(servers) => Self::open_postgres(servers).await,
        }
    }

    pub(crate) fn folder(&self) -> Option<&DataFolder> {
        self.folder.as_ref()
    }

    async fn open_sqlite(folder: DataFolder) -> Result<Self, StoreError> {
        // Writers first: they enable the WAL that readers need.
        let full = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;";
        let writer = sqlite_pool(&folder.url(DataFolder::STORE)?, 1, full).await?;
        // A power loss may drop the end of the request log.
        let normal = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;";
        let requests = sqlite_pool(&folder.url(DataFolder::REQUESTS)?, 1, normal).await?;
        let reader =
            sqlite_pool(&folder.url(DataFolder::STORE)?, SQLITE_READERS, "PRAGMA query_only = ON;").await?;
        let membership = MembershipPools { writer: writer.clone(), reader: reader.clone() };
        Ok(Self { writer, reader, requests, membership, folder: Some(folder), tracker: None })
    }

    async fn open_postgres(servers: &Servers) -> Result<Self, StoreError> {
        let tracker = PrimaryTracker::open(servers.clone()).await?;
        let pool = postgres_pool(&tracker, POSTGRES_CONNECTIONS)?;
        let own = postgres_pool(&tracker, MEMBERSHIP_CONNECTIONS)?;
        let task = tracker.keep(vec![pool.clone(), own.clone()]);
        Ok(Self {
            writer: pool.clone(),
            reader: pool.clone(),
            requests: pool,
            membership: MembershipPools { writer: own.clone(), reader: own },
            folder: None,
            tracker: Some((tracker, task)),
        })
    }

    pub(crate) fn tracker(&self) -> Option<&Arc<PrimaryTracker>> {
        self.tracker.as_ref().map(|(tracker, _)| tracker)
    }

    /// Changes with every fail-over.
    pub(crate) fn epoch(&self) -> u64 {
        self.tracker.as_ref().map_or(0, |(tracker, _)| tracker.epoch())
    }

    /// 0 without tables.
    pub(crate) async fn version(&self) -> Result<i64, StoreError> {
        let mut conn = self.read().await?;
        step(schema::STORE.version(&mut conn)).await
    }

    /// Makes the log again if its file is missing.
    pub(crate) async fn migrate_requests(&self) -> Result<(), StoreError> {
        self.migrate(&self.requests, schema::REQUESTS).await
    }

    pub(crate) async fn migrate_store(&self) -> Result<(), StoreError> {
        self.migrate(&self.writer, schema::STORE).await
    }

    async fn migrate(&self, pool: &AnyPool, part: SchemaPart) -> Result<(), StoreError> {
        let mut tx = self.begin_on(pool).await?;
        // Unbounded: a large migration may take long, and no client is served yet.
        part.migrate(&mut tx).await?;
        Ok(tx.commit().await?)
    }

    /// On SQLite it never waits.
    pub(crate) async fn read(&self) -> Result<PoolConnection<Any>, StoreError> {
        self.through(async { Ok(self.reader.acquire().await?) }).await
    }

    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Any>, StoreError> {
        self.begin_on(&self.writer).await
    }

    pub(crate) async fn read_as_member(&self) -> Result<PoolConnection<Any>, StoreError> {
        self.through(async { Ok(self.membership.reader.acquire().await?) }).await
    }

    pub(crate) async fn begin_as_member(&self) -> Result<Transaction<'static, Any>, StoreError> {
        self.begin_on(&self.membership.writer).await
    }

    pub(crate) async fn write_as_member(&self) -> Result<PoolConnection<Any>, StoreError> {
        self.through(async { Ok(self.membership.writer.acquire().await?) }).await
    }

    pub(crate) async fn begin_reading_as_member(&self) -> Result<Transaction<'static, Any>, StoreError> {
        self.begin_reading_on(&self.membership.reader).await
    }

    pub(crate) async fn begin_on_requests(&self) -> Result<Transaction<'static, Any>, StoreError> {
        self.begin_on(&self.requests).await
    }

    pub(crate) async fn begin_reading(&self) -> Result<Transaction<'static, Any>, StoreError> {
        self.begin_reading_on(&self.reader).await
    }

    async fn begin_reading_on(&self, pool: &AnyPool) -> Result<Transaction<'static, Any>, StoreError> {
        let begin =
            if self.folder.is_some() { "BEGIN" } else { "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" };
        self.through(step(async { Ok(pool.begin_with(begin).await?) })).await
    }

    async fn begin_on(&self, pool: &AnyPool) -> Result<Transaction<'static, Any>, StoreError> {
        // IMMEDIATE: a transaction that reads first could be refused the write lock and would
        // restart.
        let begin = if self.folder.is_some() { "BEGIN IMMEDIATE" } else { POSTGRES_BEGIN };
        self.through(step(async { Ok(pool.begin_with(begin).await?) })).await
    }

    /// Fails at once while the server is down.
    async fn through<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        match &self.tracker {
            Some((tracker, _)) => tracker.through(work).await,
            None => work.await,
        }
    }

    pub(crate) async fn now(
        &self,
        conn: &mut AnyConnection,
        clock: &dyn Clock,
    ) -> Result<Timestamp, StoreError> {
        if !lock::is_postgres(conn) {
            return Ok(clock.now());
        }
        let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now";
        Ok(Timestamp(row::integer(&sqlx::query(sql).fetch_one(conn).await?, "now")?))
    }

    /// SQLite's WALs still hold overwritten content. Readers may limit the truncation: it waits for
    /// them with the write lock held, and a backup reads for as long as it takes.
    pub(crate) async fn checkpoint(&self) -> Result<(), StoreError> {
        if self.folder.is_none() {
            return Ok(());
        }
        for pool in [&self.writer, &self.requests] {
            truncate_log(pool).await?;
        }
        Ok(())
    }

    /// As [`Engine::checkpoint`], of the store alone. Whether no reader limited it; `true` on
    /// PostgreSQL, which has no such file here.
    pub(crate) async fn checkpoint_all(&self) -> Result<bool, StoreError> {
        if self.folder.is_none() {
            return Ok(true);
        }
        truncate_log(&self.writer).await
    }

    /// Simulates a full disk.
    #[cfg(test)]
    pub(crate) async fn limit_pages(&self, pages: u32) -> Result<(), StoreError> {
        let mut conn = self.writer.acquire().await?;
        Ok(set(&mut conn, format!("PRAGMA max_page_count = {pages}")).await?)
    }

    pub(crate) async fn close(&self) {
        // On failure the next start replays the log.
        let _ = self.checkpoint().await;
        let closed = step(async {
            self.membership.reader.close().await;
            self.membership.writer.close().await;
            self.reader.close().await;
            self.writer.close().await;
            self.requests.close().await;
            Ok(())
        });
        // A connection still in use keeps the lock.
        if let (Ok(()), Some(folder)) = (closed.await, &self.folder) {
            folder.release();
        }
    }
}

/// Whether no reader limited it.
async fn truncate_log(pool: &AnyPool) -> Result<bool, StoreError> {
    let mut conn = pool.acquire().await?;
    sqlx::raw_sql("PRAGMA busy_timeout = 100").execute(&mut *conn).await?;
    let truncate = "PRAGMA wal_checkpoint(TRUNCATE)";
    let truncated = step(async { Ok(sqlx::raw_sql(truncate).fetch_one(&mut *conn).await?) }).await;
    sqlx::raw_sql(SQLITE_BUSY_TIMEOUT).execute(&mut *conn).await?;
    Ok(row::integer(&truncated?, "busy")? == 0)
}

/// Connections to the primary, checked on connect, acquire and release.
pub(crate) fn postgres_pool(tracker: &Arc<PrimaryTracker>, connections: u32) -> Result<AnyPool, StoreError> {
    let (checking, asked, returned) = (Arc::clone(tracker), Arc::clone(tracker), Arc::clone(tracker));
    let pool = pool_options(connections)
        .max_lifetime(Duration::from_secs(30 * 60))
        .idle_timeout(Duration::from_secs(10 * 60))
        .after_connect(move |conn, _| {
            let tracker = Arc::clone(&checking);
            Box::pin(async move {
                tracker.check(conn).await.map_err(|e| sqlx::Error::Io(io::Error::other(e.to_string())))?;
                set(conn, POSTGRES_SETTINGS.to_owned()).await
            })
        })
        .before_acquire(move |conn, meta| {
            let tracker = Arc::clone(&asked);
            Box::pin(async move {
                let usable = tracker.is_current(meta.age) && is_alive(conn).await;
                if !usable {
                    tracker.suspect();
                }
                Ok(usable)
            })
        })
        .after_release(move |conn, _| {
            let tracker = Arc::clone(&returned);
            Box::pin(async move {
                let usable = is_fit(conn).await;
                if !usable {
                    tracker.suspect();
                }
                Ok(usable)
            })
        });
    Ok(pool.connect_lazy_with(tracker.server().any_options()?))
}

pub(crate) async fn sqlite_pool(
    url: &str,
    connections: u32,
    settings: &'static str,
) -> Result<AnyPool, StoreError> {
    let options = url.parse::<AnyConnectOptions>()?.disable_statement_logging();
    let pool =
        pool_options(connections).max_lifetime(None).idle_timeout(None).after_connect(move |conn, _| {
            Box::pin(
                async move { set(conn, format!("{SQLITE_BUSY_TIMEOUT} {SQLITE_SETTINGS} {settings}")).await },
            )
        });
    Ok(pool.connect_with(options).await?)
}

fn pool_options(connections: u32) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|conn, _| Box::pin(async move { Ok(is_alive(conn).await) }))
        .after_release(|conn, _| Box::pin(async move { Ok(is_fit(conn).await) }))
}

/// Detects a cut connection before its use, for a round trip per acquire.
async fn is_alive(conn: &mut AnyConnection) -> bool {
    matches!(tokio::time::timeout(PING_TIMEOUT, conn.ping()).await, Ok(Ok(())))
}

/// Alive and in no transaction; flushes a queued rollback.
///
/// The driver's state is not enough. After an error SQLite may have ended the transaction (disk
/// full) while the driver takes it for open. After a cancelled BEGIN the server may have one that
/// the next user would inherit.
async fn is_fit(conn: &mut AnyConnection) -> bool {
    let alone = async {
        if !lock::is_postgres(conn) {
            conn.ping().await?;
            return Ok(true);
        }
        // Without a transaction, the statement starts its own.
        let sql = "SELECT (now() = statement_timestamp())::int::bigint AS alone";
        let asked = sqlx::raw_sql(sql).fetch_one(&mut *conn).await?;
        Ok::<_, StoreError>(row::integer(&asked, "alone")? != 0)
    };
    matches!(tokio::time::timeout(ACQUIRE_TIMEOUT, alone).await, Ok(Ok(true))) && !conn.is_in_transaction()
}

async fn set(conn: &mut AnyConnection, settings: String) -> Result<(), sqlx::Error> {
    // Safe: constants.
    sqlx::raw_sql(sqlx::AssertSqlSafe(settings)).execute(conn).await.map(|_| ())
}

pub(crate) async fn step<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let silent = || StoreError::Unavailable(format!("it did not answer within {STEP_TIMEOUT:?}"));
    tokio::time::timeout(STEP_TIMEOUT, work).await.unwrap_or_else(|_| Err(silent()))
}

/// Work and commit within one deadline.
pub(crate) async fn transact<T>(
    mut transaction: Transaction<'static, Any>,
    work: impl AsyncFnOnce(&mut AnyConnection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    step(async {
        let value = work(&mut transaction).await?;
        transaction.commit().await?;
        Ok(value)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll, time::Instant};

    use certward_test_support::PostgresServer;

    use super::*;
    use crate::{MasterKey, Store, SystemClock};

    #[tokio::test]
    async fn a_reader_that_stays_holds_up_a_checkpoint_and_its_writers_for_a_moment_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let address = Address::Embedded(folder.path().to_owned());
        let made = Store::init(&address, &MasterKey::generate(), Arc::new(SystemClock)).await;
        made.expect("a store").close().await;
        let engine = Engine::open(&address, false).await.expect("opened");
        let mut reader = engine.begin_reading().await.expect("a reader");
        sqlx::query("SELECT count(*) FROM audit").fetch_one(&mut *reader).await.expect("a snapshot");
        let mut tx = engine.begin().await.expect("a writer");
        sqlx::query("DELETE FROM audit").execute(&mut *tx).await.expect("a change");
        tx.commit().await.expect("committed");
        let begin = Instant::now();
        engine.checkpoint().await.expect("as far as the reader lets it");
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        drop(reader);
        engine.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_begin_that_was_given_up_leaves_nobody_else_in_its_transaction() {
        let server = PostgresServer::shared();
        let url = server.database();
        let address = Address::Postgres(Servers::parse([&url]).expect("a URL"));
        let engine = Engine::open(&address, false).await.expect("opened");
        let mut given_up = 0;
        while given_up < 10 {
            let mut conn = engine.read().await.expect("a connection");
            {
                let mut begin = Box::pin(conn.begin_with("BEGIN READ WRITE"));
                let pending = poll_fn(|context| Poll::Ready(begin.as_mut().poll(context).is_pending())).await;
                given_up += usize::from(pending);
            }
            drop(conn);
            // The check runs concurrently with the next acquire. Otherwise the server would end it
            // after 15 s.
            let open = "SELECT count(*) FROM pg_stat_activity
                        WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
            let deadline = Instant::now() + Duration::from_secs(10);
            while server.query(url.rsplit('/').next().expect("a name"), open) != "0" {
                assert!(Instant::now() < deadline, "it stays in its transaction");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let mut tx = engine.begin_reading().await.expect("one of its own");
            let sql =
                "SELECT (current_setting('transaction_isolation') = 'repeatable read')::int::bigint AS own";
            let own = sqlx::query(sql).fetch_one(&mut *tx).await.expect("answered");
            assert_eq!(row::integer(&own, "own").expect("a number"), 1);
        }
        engine.close().await;
    }
}
