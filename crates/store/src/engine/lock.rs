//! Locks between transactions that no row stands for. On SQLite there is one writer anyway, and they do nothing; on
//! PostgreSQL they last until the end of the transaction.
//!
//! Order, so that no two transactions wait for each other:
//!
//! 1. [`api_keys`], where an API key is made, changed or removed;
//! 2. the row of the API key in whose name the change is (shared), then the rows of keys that change;
//! 3. a project that is to be removed;
//! 4. [`nodes_stay`] or [`nodes_change`];
//! 5. a deployment's row, or [`absent_deployment`];
//! 6. the generation (a row of `counter`);
//! 7. [`hosts`].
//!
//! Locking a deployment takes [`nodes_stay`] with it: changes share it and do not wait for each other, only for a node
//! that joins or leaves. That a project stays is shared, and may be asked for at any point after 2: the database does so
//! itself where it checks a foreign key.

use sqlx::AnyConnection;

use crate::{StoreError, engine::row};

/// Names this program among all that use advisory locks in the same database: "cert" in ASCII.
const SPACE: i32 = 0x6365_7274;
const MIGRATION: i32 = 1;
const HOSTS: i32 = 2;
const NODES: i32 = 3;
const API_KEYS: i32 = 4;
/// The ids of deployments that are not there yet hash into a space of their own.
const DEPLOYMENT_SPACE: i32 = SPACE + 1;

pub(crate) fn is_postgres(conn: &AnyConnection) -> bool {
    conn.backend_name() == "PostgreSQL"
}

/// One migrates, the others wait for it, and what a migration of a large store takes is not what a statement takes: until the end of
/// the transaction these bounds stand in the place of the session's. A table that others use is still not waited for longer
/// than usual, for whoever comes after would wait behind.
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

/// Until the end of the transaction.
async fn set(conn: &mut AnyConnection, name: &str, value: &str) -> Result<(), StoreError> {
    sqlx::query("SELECT set_config($1, $2, true)").bind(name).bind(value).execute(conn).await?;
    Ok(())
}

/// Claims of hosts and of upstream addresses, the boundaries of projects that they are held to, and quotas are decided one
/// transaction after the other.
pub(crate) async fn hosts(conn: &mut AnyConnection) -> Result<(), StoreError> {
    exclusive(conn, HOSTS).await
}

/// No node joins or leaves until the end of this transaction.
pub(crate) async fn nodes_stay(conn: &mut AnyConnection) -> Result<(), StoreError> {
    take(conn, "SELECT pg_advisory_xact_lock_shared($1, $2)::text", SPACE, NODES).await
}

/// A node joins or leaves: no change counts the live ones meanwhile.
pub(crate) async fn nodes_change(conn: &mut AnyConnection) -> Result<(), StoreError> {
    exclusive(conn, NODES).await
}

/// As [`nodes_change`], but given up after a quarter of a second: who waits for it stops every change
/// that comes later.
pub(crate) async fn nodes_change_soon(conn: &mut AnyConnection) -> Result<(), StoreError> {
    if is_postgres(conn) {
        set(conn, "lock_timeout", "250ms").await?;
        nodes_change(conn).await?;
        set(conn, "lock_timeout", "5s").await?;
    }
    Ok(())
}

/// Changes of API keys come one after the other: two revocations do not both see another admin key, and two keys that
/// revoke each other do not wait for each other's row. May be taken again by the transaction that has it.
pub(crate) async fn api_keys(conn: &mut AnyConnection) -> Result<(), StoreError> {
    exclusive(conn, API_KEYS).await
}

/// An id without a row: the second to make it waits, and then sees the first one's.
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
