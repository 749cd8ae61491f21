//! The program's sealed records, by name, with the master key's check value and the key of the API
//! secrets' digests.

use std::sync::Arc;

use sqlx::AnyConnection;
use zeroize::Zeroizing;

use crate::{
    MasterKeyId, MasterKeyRing, StoreError, Timestamp,
    engine::{lock, row},
    repo::rekey,
    sealed::{
        random,
        sealing::{RecordPlace, Sealer, master_key_id},
    },
};

pub(crate) const CHECK: &str = "store.check";
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

/// Checks the master keys first.
pub(crate) async fn api_secrets_key(
    conn: &mut AnyConnection,
    keys: &MasterKeyRing,
) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    verify(conn, keys).await?;
    find(conn, keys, API_SECRETS)
        .await?
        .ok_or_else(|| StoreError::corrupt("the key of the API secrets is missing"))
}

/// What the store says of its master key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoreKey {
    pub(crate) id: MasterKeyId,
    /// The key before, while records may be sealed under it.
    pub(crate) former: Option<MasterKeyId>,
}

impl StoreKey {
    pub(crate) async fn read(conn: &mut AnyConnection) -> Result<Self, StoreError> {
        let check = sealed(conn, CHECK).await?.ok_or(StoreError::NotInitialised)?;
        let unfinished = rekey::newest(conn).await?.filter(|rekey| rekey.resealed_at.is_none());
        Ok(Self { id: key_of(&check)?, former: unfinished.map(|rekey| rekey.from) })
    }

    /// The oldest key of the records.
    pub(crate) fn oldest(&self) -> MasterKeyId {
        self.former.unwrap_or(self.id)
    }

    /// `None` while a rekey reseals.
    pub(crate) fn settled(&self) -> Option<MasterKeyId> {
        self.former.is_none().then_some(self.id)
    }
}

/// That the keys of this ring open all records: the key of the store, and the one before while a
/// rekey is under way.
///
/// # Errors
/// [`StoreError::WrongMasterKey`], [`StoreError::MasterKeyReplaced`],
/// [`StoreError::RekeyNeedsKey`].
pub(crate) async fn verify(conn: &mut AnyConnection, keys: &MasterKeyRing) -> Result<StoreKey, StoreError> {
    let key = StoreKey::read(conn).await?;
    if !keys.holds(key.id) {
        return Err(not_held(conn, keys, key.id).await?);
    }
    let check = sealed(conn, CHECK).await?.ok_or(StoreError::NotInitialised)?;
    keys.open(place(CHECK), &check)?;
    match key.former.filter(|former| !keys.holds(*former)) {
        Some(former) => Err(StoreError::RekeyNeedsKey(former)),
        None => Ok(key),
    }
}

/// The error of a ring without the store's key.
pub(crate) async fn not_held(
    conn: &mut AnyConnection,
    keys: &MasterKeyRing,
    wanted: MasterKeyId,
) -> Result<StoreError, StoreError> {
    for held in keys.ids() {
        if let Some(at) = rekey::replaced_at(conn, held).await? {
            return Ok(StoreError::MasterKeyReplaced { held, wanted, at });
        }
    }
    Ok(StoreError::WrongMasterKey)
}

/// Seals new records under the key of the store, which no rekey switches until the transaction
/// ends.
pub(crate) async fn sealer(
    conn: &mut AnyConnection,
    keys: &MasterKeyRing,
) -> Result<Arc<Sealer>, StoreError> {
    let check = locked_check(conn, "FOR SHARE").await?;
    keys.sealer(key_of(&check)?)
}

/// For the switch: waits for all transactions that seal.
pub(crate) async fn check_to_switch(conn: &mut AnyConnection) -> Result<Vec<u8>, StoreError> {
    locked_check(conn, "FOR UPDATE").await
}

async fn locked_check(conn: &mut AnyConnection, strength: &'static str) -> Result<Vec<u8>, StoreError> {
    // SQLite has one writer.
    let lock = if lock::is_postgres(conn) { strength } else { "" };
    // Safe: constants.
    let sql = sqlx::AssertSqlSafe(format!("SELECT sealed FROM secret WHERE name = $1 {lock}"));
    let row = sqlx::query(sql).bind(CHECK).fetch_optional(conn).await?;
    row::bytes(&row.ok_or(StoreError::NotInitialised)?, "sealed")
}

pub(crate) fn key_of(check: &[u8]) -> Result<MasterKeyId, StoreError> {
    master_key_id(check).ok_or_else(|| StoreError::corrupt("the check value of the master key"))
}

/// The check value, sealed under another key.
pub(crate) fn reseal_check(keys: &MasterKeyRing, check: &[u8], to: &Sealer) -> Result<Vec<u8>, StoreError> {
    to.seal(place(CHECK), &keys.open(place(CHECK), check)?)
}

pub(crate) async fn replace_check(conn: &mut AnyConnection, sealed: &[u8]) -> Result<(), StoreError> {
    sqlx::query("UPDATE secret SET sealed = $1 WHERE name = $2")
        .bind(sealed)
        .bind(CHECK)
        .execute(conn)
        .await?;
    Ok(())
}

pub(crate) async fn find(
    conn: &mut AnyConnection,
    keys: &MasterKeyRing,
    name: &str,
) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    let sealed = sealed(conn, name).await?;
    sealed.map(|sealed| keys.open(place(name), &sealed)).transpose()
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

/// Unique to each store, and to each of its master keys.
pub(crate) async fn sealed_check(conn: &mut AnyConnection) -> Result<Option<Vec<u8>>, StoreError> {
    sealed(conn, CHECK).await
}

/// Unique to each store; a rekey keeps it. `None` without table or record.
pub(crate) async fn identity(conn: &mut AnyConnection) -> Result<Option<String>, StoreError> {
    if let Some(identity) = rekey::identity(conn).await? {
        return Ok(Some(identity));
    }
    if !crate::engine::schema::has_table(conn, "secret").await? {
        return Ok(None);
    }
    Ok(sealed(conn, CHECK).await?.map(|check| identity_of(&check)))
}

/// Of a store before its first rekey.
pub(crate) fn identity_of(check: &[u8]) -> String {
    let mut text = String::with_capacity(2 * check.len());
    random::push_hex(&mut text, check);
    text
}

/// [`StoreError::WrongMasterKey`] if its key is not held.
pub(crate) fn verify_check(keys: &MasterKeyRing, sealed: &[u8]) -> Result<(), StoreError> {
    keys.open(place(CHECK), sealed).map(|_| ())
}

/// Of a replica.
pub(crate) async fn write_check(conn: &mut AnyConnection, sealed: &[u8]) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO secret (name, sealed, created_at) VALUES ($1, $2, 0)
         ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed",
    )
    .bind(CHECK)
    .bind(sealed)
    .execute(conn)
    .await?;
    Ok(())
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
