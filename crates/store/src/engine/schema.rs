//! Numbered migrations, embedded, each applied in one transaction with its version. Nodes of two
//! releases share a PostgreSQL schema for a while, so each migration names the oldest version whose
//! programs work on the result.

use sqlx::{AnyConnection, AssertSqlSafe, Row};

use crate::{StoreError, engine::lock};

/// On SQLite one file per part, on PostgreSQL one database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SchemaPart {
    name: &'static str,
    /// Version 1, 2, …; never edit a released one.
    migrations: &'static [Migration],
}

// A breaking change takes three migrations:
//
// 1. *Expand*: add tables, and columns that the previous release's INSERTs may omit.
// 2. *Migrate*: that release writes both forms and reads the new one.
// 3. *Contract*, a release later: drop the old form. `compatible` becomes the first version that
//    does without it. Older programs refuse to start, but running ones continue: never do it in one
//    step.
#[derive(Debug)]
struct Migration {
    sql: &'static str,
    /// The oldest version whose programs work on the result.
    compatible: i64,
}

const fn migration(sql: &'static str, compatible: i64) -> Migration {
    Migration { sql, compatible }
}

/// Everything but the request log.
pub(crate) const STORE: SchemaPart = SchemaPart {
    name: "store",
    migrations: &[
        migration(include_str!("../../migrations/0001_store.sql"), 1),
        migration(include_str!("../../migrations/0002_profile.sql"), 2),
        migration(include_str!("../../migrations/0003_proxy.sql"), 3),
        migration(include_str!("../../migrations/0004_connection_limits.sql"), 4),
        migration(include_str!("../../migrations/0005_node_process.sql"), 4),
        migration(include_str!("../../migrations/0006_born.sql"), 4),
        migration(include_str!("../../migrations/0007_project_boundary.sql"), 4),
        migration(include_str!("../../migrations/0008_membership.sql"), 4),
        migration(include_str!("../../migrations/0009_record_bytes.sql"), 4),
        migration(include_str!("../../migrations/0010_expiry.sql"), 4),
        migration(include_str!("../../migrations/0011_broker_trouble.sql"), 4),
        migration(include_str!("../../migrations/0012_node_question.sql"), 4),
        migration(include_str!("../../migrations/0013_rekey.sql"), 4),
        migration(include_str!("../../migrations/0014_audit.sql"), 4),
        migration(include_str!("../../migrations/0015_versions.sql"), 4),
        migration(include_str!("../../migrations/0016_device.sql"), 4),
        migration(include_str!("../../migrations/0017_node_request.sql"), 4),
        migration(include_str!("../../migrations/0018_alert_detail.sql"), 4),
        migration(include_str!("../../migrations/0019_revocation.sql"), 4),
    ],
};

pub(crate) const REQUESTS: SchemaPart = SchemaPart {
    name: "requests",
    migrations: &[migration(include_str!("../../migrations/0001_requests.sql"), 1)],
};

impl SchemaPart {
    /// 0 without tables.
    pub(crate) async fn version(&self, conn: &mut AnyConnection) -> Result<i64, StoreError> {
        if !has_table(conn, "schema_version").await? {
            return Ok(0);
        }
        let row = sqlx::query("SELECT version FROM schema_version WHERE part = $1")
            .bind(self.name)
            .fetch_optional(conn)
            .await?;
        Ok(row.map(|row| row.try_get::<i64, _>(0)).transpose()?.unwrap_or(0))
    }

    /// 0 if not stored.
    async fn compatible(&self, conn: &mut AnyConnection) -> Result<i64, StoreError> {
        let row = sqlx::query("SELECT compatible FROM schema_version WHERE part = $1")
            .bind(self.name)
            .fetch_one(conn)
            .await?;
        Ok(row.try_get::<i64, _>(0)?)
    }

    /// The version of this program.
    pub(crate) fn newest(&self) -> i64 {
        self.migrations.len() as i64
    }

    /// [`StoreError::TooNew`] unless it is compatible.
    pub(crate) async fn refuse_newer(&self, conn: &mut AnyConnection) -> Result<(), StoreError> {
        let (version, newest) = (self.version(conn).await?, self.migrations.len() as i64);
        if version > newest && !(1..=newest).contains(&self.compatible(conn).await?) {
            return Err(StoreError::TooNew(version));
        }
        Ok(())
    }

    /// In the caller's transaction. A newer schema is left unchanged if compatible; else
    /// [`StoreError::TooNew`].
    pub(crate) async fn migrate(&self, conn: &mut AnyConnection) -> Result<(), StoreError> {
        self.migrate_to(conn, self.migrations.len() as i64).await
    }

    /// As [`SchemaPart::migrate`], up to `wanted`, for rows from a store of that version;
    /// [`StoreError::TooNew`] if the schema or `wanted` is too new.
    pub(crate) async fn migrate_to(&self, conn: &mut AnyConnection, wanted: i64) -> Result<(), StoreError> {
        lock::migration(conn).await?;
        let postgres = lock::is_postgres(conn);
        if !has_table(conn, "schema_version").await? {
            let create = "CREATE TABLE schema_version (part {key} PRIMARY KEY, version BIGINT NOT NULL, \
                          compatible BIGINT NOT NULL DEFAULT 0)";
            run(conn, &for_engine(create, postgres)).await?;
        } else if !says_compatible(conn).await? {
            run(conn, "ALTER TABLE schema_version ADD COLUMN compatible BIGINT NOT NULL DEFAULT 0").await?;
        }
        let version = self.version(conn).await?;
        let newest = self.migrations.len() as i64;
        if wanted > newest {
            return Err(StoreError::TooNew(wanted));
        }
        self.refuse_newer(conn).await?;
        if version >= wanted {
            return Ok(());
        }
        let index = |version: i64| {
            usize::try_from(version).map_err(|_| StoreError::corrupt("a negative schema version"))
        };
        for migration in &self.migrations[index(version)?..index(wanted)?] {
            run(conn, &for_engine(migration.sql, postgres)).await?;
        }
        sqlx::query(
            "INSERT INTO schema_version (part, version, compatible) VALUES ($1, $2, $3)
             ON CONFLICT (part) DO UPDATE SET version = excluded.version, compatible = excluded.compatible",
        )
        .bind(self.name)
        .bind(wanted)
        .bind(self.migrations[..index(wanted)?].last().map_or(0, |migration| migration.compatible))
        .execute(conn)
        .await?;
        Ok(())
    }
}

async fn says_compatible(conn: &mut AnyConnection) -> Result<bool, StoreError> {
    let sql = if lock::is_postgres(conn) {
        "SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass('schema_version') AND attname = 'compatible'"
    } else {
        "SELECT count(*) FROM pragma_table_info('schema_version') WHERE name = 'compatible'"
    };
    Ok(sqlx::query(sql).fetch_one(conn).await?.try_get::<i64, _>(0)? > 0)
}

pub(crate) async fn has_table(conn: &mut AnyConnection, name: &str) -> Result<bool, StoreError> {
    let sql = if lock::is_postgres(conn) {
        "SELECT to_regclass($1)::text AS name"
    } else {
        "SELECT max(name) AS name FROM sqlite_master WHERE type = 'table' AND name = $1"
    };
    let row = sqlx::query(sql).bind(name).fetch_one(conn).await?;
    Ok(row.try_get::<Option<String>, _>(0)?.is_some())
}

async fn run(conn: &mut AnyConnection, sql: &str) -> Result<(), StoreError> {
    // Safe: embedded text, with type placeholders replaced.
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await?;
    Ok(())
}

fn for_engine(sql: &str, postgres: bool) -> String {
    let types = if postgres {
        // Bytewise order in any locale: pages and API answers agree.
        [
            ("{key}", "TEXT COLLATE \"C\""),
            ("{bytes}", "BYTEA"),
            ("{number}", "BIGINT"),
            ("{serial}", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"),
        ]
    } else {
        [
            ("{key}", "TEXT"),
            ("{bytes}", "BLOB"),
            ("{number}", "INTEGER"),
            ("{serial}", "INTEGER PRIMARY KEY AUTOINCREMENT"),
        ]
    };
    types.into_iter().fold(sql.to_owned(), |sql, (placeholder, name)| sql.replace(placeholder, name))
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use certward_test_support::PostgresServer;
    use sqlx::Connection;
    use tokio::{task::JoinSet, time::timeout};

    use super::*;
    use crate::{
        Address, MasterKey, Project, Servers, Store, SystemClock, Timestamp,
        repo::project,
        sealed::{sealing::Sealer, secret},
    };

    const MANY: usize = 8;

    async fn connect(url: &str) -> AnyConnection {
        sqlx::any::install_default_drivers();
        AnyConnection::connect(url).await.expect("connected")
    }

    async fn execute(conn: &mut AnyConnection, sql: &str) {
        run(conn, sql).await.expect(sql);
    }

    async fn number(conn: &mut AnyConnection, sql: &str) -> i64 {
        let row = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_one(conn).await.expect(sql);
        row.try_get(0).expect("a number")
    }

    const NOTE_CHANGES: &str = "CREATE TABLE noted (tag TEXT);
        CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO noted VALUES (tg_tag); END';
        CREATE EVENT TRIGGER note ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'CREATE INDEX', 'ALTER TABLE')
            EXECUTE FUNCTION note();";

    /// A store of the first release.
    async fn old_store(conn: &mut AnyConnection) {
        let mut tx = conn.begin().await.expect("a transaction");
        REQUESTS.migrate(&mut tx).await.expect("made");
        STORE.migrate_to(&mut tx, 1).await.expect("made");
        secret::init(&mut tx, &Sealer::new(&master_key()), Timestamp(0)).await.expect("made");
        project::insert(&mut tx, &Project::default_at(Timestamp(0))).await.expect("made");
        tx.commit().await.expect("committed");
    }

    fn master_key() -> MasterKey {
        MasterKey::parse(&"0f".repeat(32)).expect("64 digits")
    }

    fn address(url: &str) -> Address {
        Address::Postgres(Servers::parse([url]).expect("a URL"))
    }

    async fn open_many(url: &str, many: usize, init: bool) {
        let mut opening = JoinSet::new();
        for _ in 0..many {
            let address = address(url);
            opening.spawn(async move {
                let (key, clock) = (master_key(), Arc::new(SystemClock));
                match init {
                    true => Store::init(&address, &key, clock).await,
                    false => Store::open(&address, &key, clock).await,
                }
            });
        }
        for store in opening.join_all().await {
            let store = store.expect("it opens");
            assert_eq!(store.read().projects().await.expect("read").len(), 1);
            store.ping().await.expect("it can be written");
            store.close().await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_that_come_at_once_find_an_empty_or_an_old_store_and_bring_it_up_to_date_once() {
        let server = PostgresServer::shared();
        for old in [false, true] {
            let mut changes = Vec::new();
            for many in [1, MANY] {
                let url = server.database();
                let mut conn = connect(&url).await;
                if old {
                    old_store(&mut conn).await;
                }
                execute(&mut conn, NOTE_CHANGES).await;
                open_many(&url, many, !old).await;
                let version =
                    number(&mut conn, "SELECT version FROM schema_version WHERE part = 'store'").await;
                assert_eq!(version, STORE.migrations.len() as i64);
                changes.push(number(&mut conn, "SELECT count(*) FROM noted").await);
            }
            assert!(changes[0] > 0);
            assert_eq!(changes[0], changes[1], "as if one had come alone; old: {old}");
        }
    }

    async fn wait_for_blocked_lock(conn: &mut AnyConnection) {
        let sql = "SELECT count(*) FROM pg_locks WHERE NOT granted
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let waiting = async {
            while number(conn, sql).await == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(30), waiting).await.expect("a lock is waited for");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_change_of_the_release_before_is_waited_for_and_kept() {
        let server = PostgresServer::shared();
        let url = server.database();
        let (mut before, mut looking) = (connect(&url).await, connect(&url).await);
        old_store(&mut before).await;
        let mut tx = before.begin().await.expect("a transaction");
        let insert = "INSERT INTO deployment (id, project, name, upstream, created_at, generation, tls_state)
                      VALUES ('a', 'default', '', '127.0.0.1:1883', 0, 1, 'absent')";
        execute(&mut tx, insert).await;
        let opening = tokio::spawn({
            let url = url.clone();
            async move { open_many(&url, MANY, false).await }
        });
        wait_for_blocked_lock(&mut looking).await;
        tx.commit().await.expect("committed");
        opening.await.expect("all of them open");
        assert_eq!(
            number(&mut looking, "SELECT count(*) FROM deployment WHERE connections_max = 0").await,
            1
        );
        execute(&mut before, &insert.replace("'a'", "'b'")).await;
    }

    /// Three releases: a table, a column added, a column dropped.
    const FIRST: &str = "CREATE TABLE thing (id BIGINT PRIMARY KEY, old BIGINT NOT NULL DEFAULT 0)";
    const RELEASES: [SchemaPart; 3] = [
        SchemaPart { name: "things", migrations: &[migration(FIRST, 1)] },
        SchemaPart { name: "things", migrations: &[migration(FIRST, 1), migration(WIDER, 1)] },
        SchemaPart {
            name: "things",
            migrations: &[migration(FIRST, 1), migration(WIDER, 1), migration(NARROWER, 2)],
        },
    ];
    const WIDER: &str = "ALTER TABLE thing ADD COLUMN new BIGINT NOT NULL DEFAULT 0";
    const NARROWER: &str = "ALTER TABLE thing DROP COLUMN old";

    async fn start(url: &str, release: usize) -> Result<(), StoreError> {
        let mut conn = connect(url).await;
        let mut tx = conn.begin().await.expect("a transaction");
        RELEASES[release].migrate(&mut tx).await?;
        Ok(tx.commit().await?)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_two_releases_that_start_at_once_the_older_one_starts_as_long_as_it_may() {
        let server = PostgresServer::shared();
        for (newer, refuses_older) in [(1, false), (2, true)] {
            let url = server.database();
            start(&url, newer - 1).await.expect("made");
            let mut starts = JoinSet::new();
            for number in 0..MANY {
                let (url, release) = (url.clone(), newer - number % 2);
                starts.spawn(async move { (release, start(&url, release).await) });
            }
            for (release, started) in starts.join_all().await {
                assert!(started.is_ok(), "release {release} beside {newer}: {started:?}");
            }
            if refuses_older {
                let told = start(&url, 0).await;
                assert!(matches!(told, Err(StoreError::TooNew(3))), "{told:?}");
            }
            let mut conn = connect(&url).await;
            assert_eq!(
                number(&mut conn, "SELECT version FROM schema_version").await,
                newer as i64 + 1,
                "it is not taken back"
            );
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_migration_may_take_longer_than_a_statement_and_the_others_wait_for_it() {
        const SLOW: SchemaPart = SchemaPart {
            name: "slow",
            migrations: &[migration("CREATE TABLE slow (a TEXT); SELECT pg_sleep(0.5)", 1)],
        };
        let server = PostgresServer::shared();
        let url = server.database();
        let mut starts = JoinSet::new();
        for _ in 0..3 {
            let url = url.clone();
            starts.spawn(async move {
                let mut conn = connect(&url).await;
                execute(&mut conn, "SET statement_timeout = '100ms'; SET lock_timeout = '100ms'").await;
                let mut tx = conn.begin().await.expect("a transaction");
                SLOW.migrate(&mut tx).await?;
                tx.commit().await?;
                let error = run(&mut conn, "SELECT pg_sleep(5)").await.expect_err("too long");
                assert!(error.to_string().contains("statement timeout"), "{error}");
                Ok::<_, StoreError>(())
            });
        }
        for started in starts.join_all().await {
            started.expect("made, or waited for");
        }
    }
}
