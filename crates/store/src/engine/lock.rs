//! Locks not tied to a row. SQLite needs none (one writer); on PostgreSQL they are held until the
//! transaction ends.

use sqlx::AnyConnection;

use crate::{StoreError, engine::row};

// The lock order, against deadlocks:
// 1. `api_keys`;
// 2. the acting key's row (shared), then the rows of keys that change;
// 3. a project to remove;
// 4. `nodes_stay` or `nodes_change`;
// 5. a deployment's row, or `absent_deployment`; then its row of `device_total`, before its rows of
//    `device`;
// 6. the generation (a row of `counter`);
// 7. `hosts`;
// 8. the row of the master key's check value (shared), to seal and to append to the audit. The
//    switch of a rekey takes it exclusively, and no other lock before;
// 9. the audit's head (a row of `audit_mark`), taken by the commit.
//
// `expiry` comes first, or last: its task waits for no deployment, and writes rows of `ending` by
// number.

/// "cert" in ASCII.
const SPACE: i32 = 0x6365_7274;
const MIGRATION: i32 = 1;
const HOSTS: i32 = 2;
const NODES: i32 = 3;
const API_KEYS: i32 = 4;
const EXPIRY: i32 = 5;
/// For hashed ids.
const DEPLOYMENT_SPACE: i32 = SPACE + 1;

pub(crate) fn is_postgres(conn: &AnyConnection) -> bool {
    conn.backend_name() == "PostgreSQL"
}

/// One process migrates, the others wait. A migration may take long; table locks keep the usual
/// timeout, as later requests queue behind.
pub(crate) async fn migration(conn: &mut AnyConnection) -> Result<(), StoreError> {
    if is_postgres(conn) {
        let usual =
            sqlx::query("SELECT current_setting('lock_timeout') AS usual").fetch_one(&mut *conn).await?;
        let usual = row::text(&usual, "usual")?;
        set(conn, "statement_timeout", "1h").await?;
        set(conn, "lock_timeout", "1h").await?;
        exclusive(conn, MIGRATION).await?;
        set(conn, "lock_timeout", &usual).await?;
    }
    Ok(())
}

async fn set(conn: &mut AnyConnection, name: &str, value: &str) -> Result<(), StoreError> {
    sqlx::query("SELECT set_config($1, $2, true)").bind(name).bind(value).execute(conn).await?;
    Ok(())
}

/// Serialises claims (hosts, upstream addresses), boundaries and quotas.
pub(crate) async fn hosts(conn: &mut AnyConnection) -> Result<(), StoreError> {
    exclusive(conn, HOSTS).await
}

/// Shared by changes, which wait only for nodes that join or leave.
pub(crate) async fn nodes_stay(conn: &mut AnyConnection) -> Result<(), StoreError> {
    take(conn, "SELECT pg_advisory_xact_lock_shared($1, $2)::text", SPACE, NODES).await
}

/// For a node that joins or leaves: no change may count nodes then.
pub(crate) async fn nodes_change(conn: &mut AnyConnection) -> Result<(), StoreError> {
    exclusive(conn, NODES).await
}

/// With a timeout of 250 ms: a waiting exclusive lock blocks every later change.
pub(crate) async fn nodes_change_soon(conn: &mut AnyConnection) -> Result<(), StoreError> {
    if is_postgres(conn) {
        set(conn, "lock_timeout", "250ms").await?;
        nodes_change(conn).await?;
        set(conn, "lock_timeout", "5s").await?;
    }
    Ok(())
}

/// Two revocations must not both see another admin key, nor deadlock on each other's rows.
/// Reentrant.
pub(crate) async fn api_keys(conn: &mut AnyConnection) -> Result<(), StoreError> {
    exclusive(conn, API_KEYS).await
}

/// One node at a time lists what ends, records alerts and takes deliveries.
pub(crate) async fn expiry(conn: &mut AnyConnection) -> Result<(), StoreError> {
    exclusive(conn, EXPIRY).await
}

/// A second creator waits, then sees the first one's row.
pub(crate) async fn absent_deployment(conn: &mut AnyConnection, id: &str) -> Result<(), StoreError> {
    if is_postgres(conn) {
        sqlx::query("SELECT pg_advisory_xact_lock($1, hashtext($2))::text")
            .bind(DEPLOYMENT_SPACE)
            .bind(id)
            .execute(conn)
            .await?;
    }
    Ok(())
}

async fn exclusive(conn: &mut AnyConnection, lock: i32) -> Result<(), StoreError> {
    take(conn, "SELECT pg_advisory_xact_lock($1, $2)::text", SPACE, lock).await
}

async fn take(conn: &mut AnyConnection, sql: &'static str, space: i32, lock: i32) -> Result<(), StoreError> {
    if is_postgres(conn) {
        sqlx::query(sql).bind(space).bind(lock).execute(conn).await?;
    }
    Ok(())
}
