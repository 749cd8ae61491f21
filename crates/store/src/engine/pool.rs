//! The two engines: how each is opened, and what a connection of each is set to. All that is different between them
//! stands here, in `lock`, and in the few statements that ask [`lock::is_postgres`].

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
        schema::{self, Part},
    },
    postgres::{
        primary::{Keeper, PrimaryTracker},
        servers::Servers,
    },
};

/// How long anything waits for a connection or a lock.
const WAIT: Duration = Duration::from_secs(5);
/// How long one step may take in all: a statement that waited for its lock, and was then carried out, over a network
/// that may have gone silent.
const STEP: Duration = Duration::from_secs(12);
/// How long an idle connection has to show that it still lives.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// Readers of the embedded database. Each is a thread with a part of the allocator's memory, prepared statements and pages of its own; a
/// read takes a tenth of a millisecond mostly.
const SQLITE_READERS: u32 = 2;
/// PostgreSQL allows 97 in all by default: so many that eight nodes have room, each with those of
/// [`MEMBERSHIP_CONNECTIONS`] and two more, to listen and to probe the servers.
const POSTGRES_CONNECTIONS: u32 = 7;
/// Apart from those: one each to read the feed, to join or renew a lease, and to load what the feed named. Requests that
/// wait for a node that joins can fill the pool, and the node needs these three to have done with joining.
const MEMBERSHIP_CONNECTIONS: u32 = 3;

/// On every connection to an embedded database. A deleted row is overwritten; nothing temporary reaches the disk. Each connection
/// keeps 64 KiB of pages, where SQLite's default is 2 MiB: four such caches would be a node's largest part, and would fill for days.
/// The system's cache has the same pages.
const SQLITE_SETTINGS: &str = "PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; \
     PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF; PRAGMA journal_size_limit = 16777216; \
     PRAGMA cache_size = -64;";

/// On every connection to PostgreSQL. READ COMMITTED is what the locks count on: a statement after a lock sees what
/// the lock waited for. A node that is cut off must not hold its locks for longer than the others wait.
///
/// Every statement takes a few rows in the order of an index, also from a table that has just been filled and that the server
/// knows nothing of yet. Left to itself it plans for a tenth of the table and reads all of it for a page of a thousand rows.
const POSTGRES_SETTINGS: &str = "SET default_transaction_isolation = 'read committed'; SET synchronous_commit = on; \
     SET statement_timeout = '5s'; SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '15s'; \
     SET tcp_user_timeout = '10s'; SET plan_cache_mode = force_custom_plan; SET enable_seqscan = off; \
     SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off;";

/// Begins a transaction that may write. A node that is stopped in the middle of one (SIGSTOP, a paused
/// virtual machine) holds its locks for two seconds, and all others wait no longer: nothing here leaves
/// a transaction idle for that long.
const POSTGRES_BEGIN: &str = "BEGIN READ WRITE; SET LOCAL idle_in_transaction_session_timeout = '2s'";

/// Open connections.
#[derive(Debug)]
pub(crate) struct Engine {
    writer: AnyPool,
    reader: AnyPool,
    requests: AnyPool,
    /// For the node's own work, see [`MEMBERSHIP_CONNECTIONS`].
    membership: Membership,
    folder: Option<DataFolder>,
    /// To PostgreSQL, and the task that keeps it.
    line: Option<(Arc<PrimaryTracker>, Keeper)>,
}

/// The connections by which a node follows the feed and keeps its membership.
#[derive(Debug)]
struct Membership {
    writer: AnyPool,
    reader: AnyPool,
}

impl Engine {
    /// Connects. Makes files where `create` and they are missing, but no tables.
    pub(crate) async fn open(address: &Address, create: bool) -> Result<Self, StoreError> {
        // A second call finds them installed, and that is all that is wanted.
        sqlx::any::install_default_drivers();
        match address {
            Address::Embedded(path) => Self::open_sqlite(DataFolder::open(path, create)?).await,
            Address::Postgres(servers) => Self::open_postgres(servers).await,
        }
    }

    /// As [`Engine::open`] for what is there, beside the process that has the embedded store's folder.
    pub(crate) async fn open_beside(address: &Address) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        match address {
            Address::Embedded(path) => Self::open_sqlite(DataFolder::open_beside(path)?).await,
            Address::Postgres(servers) => Self::open_postgres(servers).await,
        }
    }

    /// The embedded store's folder.
    pub(crate) fn folder(&self) -> Option<&DataFolder> {
        self.folder.as_ref()
    }

    async fn open_sqlite(folder: DataFolder) -> Result<Self, StoreError> {
        // The writers come first, for they turn the log on that readers need.
        let full = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;";
        let writer = sqlite_pool(&folder.url(DataFolder::STORE)?, 1, full).await?;
        // What a power loss takes from the end of the request log, nobody can prove to have had.
        let normal = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;";
        let requests = sqlite_pool(&folder.url(DataFolder::REQUESTS)?, 1, normal).await?;
        let reader =
            sqlite_pool(&folder.url(DataFolder::STORE)?, SQLITE_READERS, "PRAGMA query_only = ON;").await?;
        let membership = Membership { writer: writer.clone(), reader: reader.clone() };
        Ok(Self { writer, reader, requests, membership, folder: Some(folder), line: None })
    }

    async fn open_postgres(servers: &Servers) -> Result<Self, StoreError> {
        let line = PrimaryTracker::open(servers.clone()).await?;
        let pool = postgres_pool(&line, POSTGRES_CONNECTIONS)?;
        let own = postgres_pool(&line, MEMBERSHIP_CONNECTIONS)?;
        let keeper = line.keep(vec![pool.clone(), own.clone()]);
        Ok(Self {
            writer: pool.clone(),
            reader: pool.clone(),
            requests: pool,
            membership: Membership { writer: own.clone(), reader: own },
            folder: None,
            line: Some((line, keeper)),
        })
    }

    /// The line to PostgreSQL; `None` for the embedded store.
    pub(crate) fn line(&self) -> Option<&Arc<PrimaryTracker>> {
        self.line.as_ref().map(|(line, _)| line)
    }

    /// Which server is in use: another number after each fail-over.
    pub(crate) fn epoch(&self) -> u64 {
        self.line.as_ref().map_or(0, |(line, _)| line.epoch())
    }

    /// The version of the store's own tables: 0 where there are none.
    pub(crate) async fn version(&self) -> Result<i64, StoreError> {
        let mut conn = self.read().await?;
        step(schema::STORE.version(&mut conn)).await
    }

    /// Brings the request log to this program's version. It is made anew where its file is missing.
    pub(crate) async fn migrate_requests(&self) -> Result<(), StoreError> {
        self.migrate(&self.requests, schema::REQUESTS).await
    }

    /// Brings the store's tables to this program's version.
    pub(crate) async fn migrate_store(&self) -> Result<(), StoreError> {
        self.migrate(&self.writer, schema::STORE).await
    }

    async fn migrate(&self, pool: &AnyPool, part: Part) -> Result<(), StoreError> {
        let mut tx = self.begin_on(pool).await?;
        // Not bounded by one step: a migration of a large store may take its time, and nobody is served yet.
        part.migrate(&mut tx).await?;
        Ok(tx.commit().await?)
    }

    /// A connection to read with. On SQLite it sees what was committed when its statement began, and waits for nobody.
    pub(crate) async fn read(&self) -> Result<PoolConnection<Any>, StoreError> {
        self.through(async { Ok(self.reader.acquire().await?) }).await
    }

    /// A transaction that may write.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Any>, StoreError> {
        self.begin_on(&self.writer).await
    }

    /// A connection to read the feed with, apart from those of requests.
    pub(crate) async fn read_as_member(&self) -> Result<PoolConnection<Any>, StoreError> {
        self.through(async { Ok(self.membership.reader.acquire().await?) }).await
    }

    /// A transaction that may write, apart from those of requests.
    pub(crate) async fn begin_as_member(&self) -> Result<Transaction<'static, Any>, StoreError> {
        self.begin_on(&self.membership.writer).await
    }

    /// A connection for one statement that writes by itself, apart from those of requests.
    pub(crate) async fn write_as_member(&self) -> Result<PoolConnection<Any>, StoreError> {
        self.through(async { Ok(self.membership.writer.acquire().await?) }).await
    }

    /// As [`Engine::begin_reading`], apart from requests.
    pub(crate) async fn begin_reading_as_member(&self) -> Result<Transaction<'static, Any>, StoreError> {
        self.begin_reading_on(&self.membership.reader).await
    }

    /// A transaction on the request log.
    pub(crate) async fn begin_on_requests(&self) -> Result<Transaction<'static, Any>, StoreError> {
        self.begin_on(&self.requests).await
    }

    /// A transaction that only reads, and sees one state of everything.
    pub(crate) async fn begin_reading(&self) -> Result<Transaction<'static, Any>, StoreError> {
        self.begin_reading_on(&self.reader).await
    }

    async fn begin_reading_on(&self, pool: &AnyPool) -> Result<Transaction<'static, Any>, StoreError> {
        let begin =
            if self.folder.is_some() { "BEGIN" } else { "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" };
        self.through(step(async { Ok(pool.begin_with(begin).await?) })).await
    }

    async fn begin_on(&self, pool: &AnyPool) -> Result<Transaction<'static, Any>, StoreError> {
        // IMMEDIATE: a transaction that begins by reading and is then refused the write lock could only start again.
        let begin = if self.folder.is_some() { "BEGIN IMMEDIATE" } else { POSTGRES_BEGIN };
        self.through(step(async { Ok(pool.begin_with(begin).await?) })).await
    }

    /// Nobody waits for a connection to a server that is known to be away.
    async fn through<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        match &self.line {
            Some((line, _)) => line.through(work).await,
            None => work.await,
        }
    }

    /// The time by which leases are kept.
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

    /// Empties the write-ahead logs, which hold what was overwritten in the tables. Does nothing on PostgreSQL, and
    /// as much as readers allow on SQLite.
    pub(crate) async fn checkpoint(&self) -> Result<(), StoreError> {
        if self.folder.is_none() {
            return Ok(());
        }
        for pool in [&self.writer, &self.requests] {
            let mut conn = pool.acquire().await?;
            step(async { Ok(sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut *conn).await?) })
                .await?;
        }
        Ok(())
    }

    /// Lets the embedded database grow to so many pages only, as a full disk would.
    #[cfg(test)]
    pub(crate) async fn limit_pages(&self, pages: u32) -> Result<(), StoreError> {
        let mut conn = self.writer.acquire().await?;
        Ok(set(&mut conn, format!("PRAGMA max_page_count = {pages}")).await?)
    }

    /// Waits for connections in use, but not for ever.
    pub(crate) async fn close(&self) {
        // Where it does not work, the next start finds the log and reads it.
        let _ = self.checkpoint().await;
        let closed = step(async {
            self.membership.reader.close().await;
            self.membership.writer.close().await;
            self.reader.close().await;
            self.writer.close().await;
            self.requests.close().await;
            Ok(())
        });
        // Whoever still holds a connection holds the folder, too.
        if let (Ok(()), Some(folder)) = (closed.await, &self.folder) {
            folder.release();
        }
    }
}

/// Connections to the server that the line names, each checked when it is made, taken and given back.
fn postgres_pool(line: &Arc<PrimaryTracker>, connections: u32) -> Result<AnyPool, StoreError> {
    let (checking, asked, returned) = (Arc::clone(line), Arc::clone(line), Arc::clone(line));
    let pool = pool_options(connections)
        .max_lifetime(Duration::from_secs(30 * 60))
        .idle_timeout(Duration::from_secs(10 * 60))
        .after_connect(move |conn, _| {
            let line = Arc::clone(&checking);
            Box::pin(async move {
                line.check(conn).await.map_err(|e| sqlx::Error::Io(io::Error::other(e.to_string())))?;
                set(conn, POSTGRES_SETTINGS.to_owned()).await
            })
        })
        .before_acquire(move |conn, meta| {
            let line = Arc::clone(&asked);
            Box::pin(async move {
                let usable = line.is_current(meta.age) && is_alive(conn).await;
                if !usable {
                    line.suspect();
                }
                Ok(usable)
            })
        })
        .after_release(move |conn, _| {
            let line = Arc::clone(&returned);
            Box::pin(async move {
                let usable = is_fit(conn).await;
                if !usable {
                    line.suspect();
                }
                Ok(usable)
            })
        });
    Ok(pool.connect_lazy_with(line.server().any_options()?))
}

pub(crate) async fn sqlite_pool(
    url: &str,
    connections: u32,
    settings: &'static str,
) -> Result<AnyPool, StoreError> {
    let options = url.parse::<AnyConnectOptions>()?.disable_statement_logging();
    let pool =
        pool_options(connections).max_lifetime(None).idle_timeout(None).after_connect(move |conn, _| {
            Box::pin(async move { set(conn, format!("{SQLITE_SETTINGS} {settings}")).await })
        });
    Ok(pool.connect_with(options).await?)
}

fn pool_options(connections: u32) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(WAIT)
        .test_before_acquire(false)
        .before_acquire(|conn, _| Box::pin(async move { Ok(is_alive(conn).await) }))
        .after_release(|conn, _| Box::pin(async move { Ok(is_fit(conn).await) }))
}

/// A connection that was cut, perhaps without a word, is found out here and soon, and costs no request its answer. A
/// round trip for each use of a connection is what that is worth.
async fn is_alive(conn: &mut AnyConnection) -> bool {
    matches!(tokio::time::timeout(SIGN_OF_LIFE, conn.ping()).await, Ok(Ok(())))
}

/// Whether a connection that comes back may be given to somebody else: it lives, and is in no transaction. A rollback that waits is carried out
/// by asking.
///
/// What the driver believes is not enough. After an error SQLite may have ended the transaction by itself (disk full), and the driver
/// takes it for open for ever. And of a BEGIN whose answer nobody waited for (the server hung, and the step was given up) the driver
/// knows nothing, while the server is in a transaction: whoever had the connection next would be in it, or be refused everything.
async fn is_fit(conn: &mut AnyConnection) -> bool {
    let alone = async {
        if !lock::is_postgres(conn) {
            conn.ping().await?;
            return Ok(true);
        }
        // Sent as one simple message, without a transaction it is one of its own, which begins with it.
        let sql = "SELECT (now() = statement_timestamp())::int::bigint AS alone";
        let asked = sqlx::raw_sql(sql).fetch_one(&mut *conn).await?;
        Ok::<_, StoreError>(row::integer(&asked, "alone")? != 0)
    };
    matches!(tokio::time::timeout(WAIT, alone).await, Ok(Ok(true))) && !conn.is_in_transaction()
}

async fn set(conn: &mut AnyConnection, settings: String) -> Result<(), sqlx::Error> {
    // Safe: made of this file's constants only.
    sqlx::raw_sql(sqlx::AssertSqlSafe(settings)).execute(conn).await.map(|_| ())
}

/// Bounds one step: whatever the network or the disk does, somebody gets an answer.
pub(crate) async fn step<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let silent = || StoreError::Unavailable(format!("it did not answer within {STEP:?}"));
    tokio::time::timeout(STEP, work).await.unwrap_or_else(|_| Err(silent()))
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll, time::Instant};

    use certward_test_support::PostgresServer;

    use super::*;

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
                // It is on its way, and nobody waits for the answer; unless that was faster than this thread.
                let pending = poll_fn(|context| Poll::Ready(begin.as_mut().poll(context).is_pending())).await;
                given_up += usize::from(pending);
            }
            drop(conn);
            // It is looked at beside whoever takes another one. Left as it is, the server would end it after 15 s.
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
