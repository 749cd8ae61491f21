//! The program's own sealed records, by name: the master key's check value, the key of the API secrets' digests,
//! and what [`crate::Store::secret_or_insert`] is asked for.

use sqlx::AnyConnection;
use zeroize::Zeroizing;

use crate::{
    StoreError, Timestamp, random, row,
    sealing::{Place, Sealer},
};

const CHECK: &str = "store.check";
const API_SECRETS: &str = "store.api-secrets";

fn place(name: &str) -> Place<'_> {
    Place { table: "secret", row: name, version: 0 }
}

/// Makes the store's own records, where they are missing.
pub(crate) async fn init(
    conn: &mut AnyConnection,
    sealer: &Sealer,
    now: Timestamp,
) -> Result<(), StoreError> {
    for name in [CHECK, API_SECRETS] {
        insert(conn, sealer, name, random::key().as_slice(), now).await?;
    }
    Ok(())
}

/// Whether `init` has been here.
pub(crate) async fn is_initialised(conn: &mut AnyConnection) -> Result<bool, StoreError> {
    Ok(sealed(conn, CHECK).await?.is_some())
}

/// The key of the API secrets' digests, after the master key has shown to be the right one.
///
/// # Errors
/// [`StoreError::WrongMasterKey`], [`StoreError::NotInitialised`].
pub(crate) async fn api_secrets_key(
    conn: &mut AnyConnection,
    sealer: &Sealer,
) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let check = sealed(conn, CHECK).await?.ok_or(StoreError::NotInitialised)?;
    sealer.open(place(CHECK), &check)?;
    find(conn, sealer, API_SECRETS)
        .await?
        .ok_or_else(|| StoreError::corrupt("the key of the API secrets is missing"))
}

pub(crate) async fn find(
    conn: &mut AnyConnection,
    sealer: &Sealer,
    name: &str,
) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    let sealed = sealed(conn, name).await?;
    sealed.map(|sealed| sealer.open(place(name), &sealed)).transpose()
}

/// Keeps the record unless there is one of this name.
pub(crate) async fn insert(
    conn: &mut AnyConnection,
    sealer: &Sealer,
    name: &str,
    plain: &[u8],
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO secret (name, sealed, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
    )
    .bind(name)
    .bind(sealer.seal(place(name), plain)?)
    .bind(now.0)
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes the records with `from <= name < before`, by bytes.
pub(crate) async fn remove(conn: &mut AnyConnection, from: &str, before: &str) -> Result<u64, StoreError> {
    let removed = sqlx::query("DELETE FROM secret WHERE name >= $1 AND name < $2")
        .bind(from)
        .bind(before)
        .execute(conn)
        .await?;
    Ok(removed.rows_affected())
}

async fn sealed(conn: &mut AnyConnection, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let row =
        sqlx::query("SELECT sealed FROM secret WHERE name = $1").bind(name).fetch_optional(conn).await?;
    row.map(|row| row::bytes(&row, "sealed")).transpose()
}
