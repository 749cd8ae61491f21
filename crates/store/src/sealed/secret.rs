//! The program's sealed records, by name, with the master key's check value and the key of the API
//! secrets' digests.

use sqlx::AnyConnection;
use zeroize::Zeroizing;

use crate::{
    StoreError, Timestamp,
    engine::row,
    sealed::{
        random,
        sealing::{RecordPlace, Sealer},
    },
};

const CHECK: &str = "store.check";
const API_SECRETS: &str = "store.api-secrets";

fn place(name: &str) -> RecordPlace<'_> {
    RecordPlace { table: "secret", row: name, version: 0 }
}

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

pub(crate) async fn is_initialised(conn: &mut AnyConnection) -> Result<bool, StoreError> {
    Ok(sealed(conn, CHECK).await?.is_some())
}

/// Checks the master key first.
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

/// Compared by bytes: `from <= name < before`.
pub(crate) async fn remove(conn: &mut AnyConnection, from: &str, before: &str) -> Result<u64, StoreError> {
    let removed = sqlx::query("DELETE FROM secret WHERE name >= $1 AND name < $2")
        .bind(from)
        .bind(before)
        .execute(conn)
        .await?;
    Ok(removed.rows_affected())
}

/// Unique to each store.
pub(crate) async fn sealed_check(conn: &mut AnyConnection) -> Result<Option<Vec<u8>>, StoreError> {
    sealed(conn, CHECK).await
}

/// `None` without table or record.
pub(crate) async fn check_if_there(conn: &mut AnyConnection) -> Result<Option<String>, StoreError> {
    if !crate::engine::schema::has_table(conn, "secret").await? {
        return Ok(None);
    }
    let Some(check) = sealed(conn, CHECK).await? else { return Ok(None) };
    let mut text = String::with_capacity(2 * check.len());
    random::push_hex(&mut text, &check);
    Ok(Some(text))
}

/// [`StoreError::WrongMasterKey`] if it differs.
pub(crate) fn verify_check(sealer: &Sealer, sealed: &[u8]) -> Result<(), StoreError> {
    sealer.open(place(CHECK), sealed).map(|_| ())
}

pub(crate) async fn write_check(conn: &mut AnyConnection, sealed: &[u8]) -> Result<(), StoreError> {
    write_sealed(conn, &Sealed { name: CHECK.to_owned(), sealed: sealed.to_vec(), created_at: 0 }).await
}

#[derive(PartialEq, Eq)]
pub(crate) struct Sealed {
    name: String,
    sealed: Vec<u8>,
    created_at: i64,
}

/// `from <= name < before`, by name.
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
