//! The schema and its migrations: numbered, embedded, applied in one transaction with the version they lead to.
//!
//! Widen first, narrow a release later: on PostgreSQL the nodes of two releases work on one schema for a while. So each
//! migration says the oldest schema whose programs may still work on what it leads to. The rule for authors:
//!
//! 1. *Expand*: add tables, and columns that an INSERT of the release before may leave out. `compatible` stays as it is.
//! 2. *Migrate*: the release that does so writes both forms, and reads the new one.
//! 3. *Contract*: a release later, remove the old form. `compatible` becomes the version of the first migration whose programs
//!    do without it. A program from before does not start on it; one that still runs is not told, so never in one step.

use sqlx::{AnyConnection, AssertSqlSafe, Row};

use crate::{StoreError, lock};

/// A set of tables with migrations of its own. On SQLite each is a file, on PostgreSQL both are in one database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    name: &'static str,
    /// Version 1, 2, …; a released one is never edited.
    migrations: &'static [Migration],
}

#[derive(Debug)]
struct Migration {
    sql: &'static str,
    /// Programs of this version and later work on what it leads to.
    compatible: i64,
}

const fn migration(sql: &'static str, compatible: i64) -> Migration {
    Migration { sql, compatible }
}

/// Everything but the request log.
pub(crate) const STORE: Part = Part {
    name: "store",
    migrations: &[
        migration(include_str!("../migrations/0001_store.sql"), 1),
        migration(include_str!("../migrations/0002_profile.sql"), 2),
        migration(include_str!("../migrations/0003_proxy.sql"), 3),
        migration(include_str!("../migrations/0004_connection_limits.sql"), 4),
    ],
};

/// The request log.
pub(crate) const REQUESTS: Part =
    Part { name: "requests", migrations: &[migration(include_str!("../migrations/0001_requests.sql"), 1)] };

impl Part {
    /// The version that the database has: 0 where there is nothing yet.
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

    /// The oldest version whose programs may work on what the database has; 0 where it does not say.
    async fn compatible(&self, conn: &mut AnyConnection) -> Result<i64, StoreError> {
        let row = sqlx::query("SELECT compatible FROM schema_version WHERE part = $1")
            .bind(self.name)
            .fetch_one(conn)
            .await?;
        Ok(row.try_get::<i64, _>(0)?)
    }

    /// Brings the database to this program's version, within the caller's transaction. One that is beyond it, but still for
    /// this program too, is left as it is.
    ///
    /// # Errors
    /// [`StoreError::TooNew`] where this program cannot work on it any more.
    pub(crate) async fn migrate(&self, conn: &mut AnyConnection) -> Result<(), StoreError> {
        self.migrate_to(conn, self.migrations.len() as i64).await
    }

    /// As [`Part::migrate`], but no further than to `wanted`: for rows that come from a store of that version.
    ///
    /// # Errors
    /// [`StoreError::TooNew`] where it, or what is wanted, is beyond this program's version.
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
        if version > newest {
            let compatible = self.compatible(conn).await?;
            return if (1..=newest).contains(&compatible) {
                Ok(())
            } else {
                Err(StoreError::TooNew(version))
            };
        }
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

/// A store from before there was such a column has none.
async fn says_compatible(conn: &mut AnyConnection) -> Result<bool, StoreError> {
    let sql = if lock::is_postgres(conn) {
        "SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass('schema_version') AND attname = 'compatible'"
    } else {
        "SELECT count(*) FROM pragma_table_info('schema_version') WHERE name = 'compatible'"
    };
    Ok(sqlx::query(sql).fetch_one(conn).await?.try_get::<i64, _>(0)? > 0)
}

/// Whether there is such a table of the store.
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
    // Safe: the text is embedded in the program, and only its placeholders for types are replaced.
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await?;
    Ok(())
}

/// Puts the engine's types in place of the placeholders.
fn for_engine(sql: &str, postgres: bool) -> String {
    let types = if postgres {
        // Ids are compared by bytes, whatever the locale of the database: pages and answers have one order.
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
