use sqlx::{AnyConnection, any::AnyRow};

use crate::{
    MasterKeyId, StoreError, Timestamp,
    engine::{row, schema},
};

/// A change of the master key, from its switch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rekey {
    /// The key before.
    pub from: MasterKeyId,
    /// The key since.
    pub to: MasterKeyId,
    /// Since when new records are sealed under `to`.
    pub switched_at: Timestamp,
    /// Since when no record of the store is sealed under `from`.
    pub resealed_at: Option<Timestamp>,
    /// Since when no record of a replica is.
    pub finished_at: Option<Timestamp>,
}

impl Rekey {
    fn read(row: &AnyRow) -> Result<Self, StoreError> {
        let time = |column| Ok::<_, StoreError>(row::integer_or_null(row, column)?.map(Timestamp));
        Ok(Self {
            from: id(row, "from_key")?,
            to: id(row, "to_key")?,
            switched_at: Timestamp(row::integer(row, "switched_at")?),
            resealed_at: time("resealed_at")?,
            finished_at: time("finished_at")?,
        })
    }
}

fn id(row: &AnyRow, column: &str) -> Result<MasterKeyId, StoreError> {
    MasterKeyId::parse(&row::text(row, column)?).map_err(|_| row::unreadable(column))
}

/// The newest, if there was any; also of a store of an older schema.
pub(crate) async fn newest(conn: &mut AnyConnection) -> Result<Option<Rekey>, StoreError> {
    if !schema::has_table(conn, "rekey").await? {
        return Ok(None);
    }
    let row = sqlx::query(
        "SELECT from_key, to_key, switched_at, resealed_at, finished_at FROM rekey ORDER BY number DESC LIMIT 1",
    )
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(Rekey::read).transpose()
}

/// When `key` was replaced.
pub(crate) async fn replaced_at(
    conn: &mut AnyConnection,
    key: MasterKeyId,
) -> Result<Option<Timestamp>, StoreError> {
    if !schema::has_table(conn, "rekey").await? {
        return Ok(None);
    }
    let row = sqlx::query("SELECT max(switched_at) AS at FROM rekey WHERE from_key = $1")
        .bind(key.to_string())
        .fetch_one(conn)
        .await?;
    Ok(row::integer_or_null(&row, "at")?.map(Timestamp))
}

/// By which nodes know the store, as it was before its first rekey.
pub(crate) async fn identity(conn: &mut AnyConnection) -> Result<Option<String>, StoreError> {
    if !schema::has_table(conn, "rekey").await? {
        return Ok(None);
    }
    let row = sqlx::query("SELECT identity FROM rekey ORDER BY number LIMIT 1").fetch_optional(conn).await?;
    row.map(|row| row::text(&row, "identity")).transpose()
}

pub(crate) async fn insert(
    conn: &mut AnyConnection,
    rekey: &Rekey,
    identity: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO rekey (number, from_key, to_key, identity, switched_at, resealed_at, finished_at)
         VALUES ((SELECT coalesce(max(number), 0) + 1 FROM rekey), $1, $2, $3, $4, $5, $6)",
    )
    .bind(rekey.from.to_string())
    .bind(rekey.to.to_string())
    .bind(identity)
    .bind(rekey.switched_at.0)
    .bind(rekey.resealed_at.map(|at| at.0))
    .bind(rekey.finished_at.map(|at| at.0))
    .execute(conn)
    .await?;
    Ok(())
}

/// For a replica, which needs no more than the newest.
pub(crate) async fn replace(
    conn: &mut AnyConnection,
    newest: Option<&(Rekey, String)>,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM rekey").execute(&mut *conn).await?;
    match newest {
        Some((rekey, identity)) => insert(conn, rekey, identity).await,
        None => Ok(()),
    }
}

pub(crate) async fn mark_resealed(
    conn: &mut AnyConnection,
    to: MasterKeyId,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE rekey SET resealed_at = $1 WHERE to_key = $2 AND resealed_at IS NULL")
        .bind(now.0)
        .bind(to.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// Returns whether it was unfinished.
pub(crate) async fn mark_finished(
    conn: &mut AnyConnection,
    to: MasterKeyId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let marked = sqlx::query(
        "UPDATE rekey SET finished_at = $1 WHERE to_key = $2 AND resealed_at IS NOT NULL AND finished_at IS NULL",
    )
    .bind(now.0)
    .bind(to.to_string())
    .execute(conn)
    .await?;
    Ok(marked.rows_affected() > 0)
}
