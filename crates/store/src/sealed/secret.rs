//! The program's own sealed records, by name: the master key's check value, the key of the API secrets' digests,
//! and what [`crate::Store::secret_or_insert`] is asked for.

use sqlx::AnyConnection;
use zeroize::Zeroizing;

use crate::{
    StoreError, Timestamp,
    engine::row,
    sealed::{
        random,
        sealing::{Place, Sealer},
    },
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

/// The sealed check value: no two stores have the same.
pub(crate) async fn sealed_check(conn: &mut AnyConnection) -> Result<Option<Vec<u8>>, StoreError> {
    sealed(conn, CHECK).await
}

/// The sealed check value as text, where there is such a table and record.
pub(crate) async fn check_if_there(conn: &mut AnyConnection) -> Result<Option<String>, StoreError> {
    if !crate::engine::schema::has_table(conn, "secret").await? {
        return Ok(None);
    }
    let Some(check) = sealed(conn, CHECK).await? else { return Ok(None) };
    let mut text = String::with_capacity(2 * check.len());
    random::push_hex(&mut text, &check);
    Ok(Some(text))
}

/// Whether the master key is the one that this check value was made with.
///
/// # Errors
/// [`StoreError::WrongMasterKey`].
pub(crate) fn verify_check(sealer: &Sealer, sealed: &[u8]) -> Result<(), StoreError> {
    sealer.open(place(CHECK), sealed).map(|_| ())
}

/// Keeps a check value as another store has it.
pub(crate) async fn write_check(conn: &mut AnyConnection, sealed: &[u8]) -> Result<(), StoreError> {
    write_sealed(conn, &Sealed { name: CHECK.to_owned(), sealed: sealed.to_vec(), created_at: 0 }).await
}

/// A record as it is sealed.
#[derive(PartialEq, Eq)]
pub(crate) struct Sealed {
    name: String,
    sealed: Vec<u8>,
    created_at: i64,
}

/// The records with `from <= name < before`, by name, as they are sealed.
pub(crate) async fn all_sealed(
    conn: &mut AnyConnection,
    from: &str,
    before: &str,
) -> Result<Vec<Sealed>, StoreError> {
    let rows = sqlx::query(
        "SELECT name, sealed, created_at FROM secret WHERE name >= $1 AND name < $2 ORDER BY name",
    )
    .bind(from)
    .bind(before)
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Sealed {
                name: row::text(row, "name")?,
                sealed: row::bytes(row, "sealed")?,
                created_at: row::integer(row, "created_at")?,
            })
        })
        .collect()
}

pub(crate) async fn write_sealed(conn: &mut AnyConnection, record: &Sealed) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO secret (name, sealed, created_at) VALUES ($1, $2, $3)")
        .bind(record.name.as_str())
        .bind(record.sealed.as_slice())
        .bind(record.created_at)
        .execute(conn)
        .await?;
    Ok(())
}

async fn sealed(conn: &mut AnyConnection, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let row =
        sqlx::query("SELECT sealed FROM secret WHERE name = $1").bind(name).fetch_optional(conn).await?;
    row.map(|row| row::bytes(&row, "sealed")).transpose()
}
