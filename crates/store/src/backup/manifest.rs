use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, AssertSqlSafe};
use time::{format_description::BorrowedFormatItem, macros::format_description};

use crate::{
    NodeId, StoreError, Timestamp,
    engine::{pool::step, row, schema},
    sealed::{random, secret::StoreKey},
};

const FORMAT: u64 = 1;
const TO_THE_SECOND: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

/// What a backup says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupManifest {
    /// The format of the file, 1.
    pub format: u64,
    /// `YYYY-MM-DD HH:MM:SS`, UTC.
    pub created_at: String,
    /// The version of the program that wrote it.
    pub program: String,
    /// The version of the store's schema.
    pub schema: i64,
    /// The node that uses the store, if it has served.
    pub node: Option<String>,
    /// The id of the master key: 16 hexadecimal digits, derived from it one way.
    pub master_key: String,
    /// The rows of each table.
    pub rows: BTreeMap<String, u64>,
    /// The bytes of the database, before the manifest.
    pub database_bytes: u64,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u64,
}

/// Why a line is no manifest.
pub(crate) enum ManifestFault {
    Unreadable,
    Newer(u64),
}

impl BackupManifest {
    /// Of this copy of a store.
    pub(crate) async fn read(
        conn: &mut AnyConnection,
        node: Option<&NodeId>,
        now: Timestamp,
        database_bytes: u64,
    ) -> Result<Self, StoreError> {
        let schema = step(schema::STORE.version(conn)).await?;
        let key = step(StoreKey::read(conn)).await?;
        if key.former.is_some() {
            return Err(StoreError::RekeyUnderWay);
        }
        Ok(Self {
            format: FORMAT,
            created_at: now.to_time().format(TO_THE_SECOND).unwrap_or_default(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            schema,
            node: node.map(ToString::to_string),
            master_key: key.id.to_string(),
            rows: rows(conn).await?,
            database_bytes,
        })
    }

    pub(crate) fn parse(line: &[u8]) -> Result<Self, ManifestFault> {
        let FormatOnly { format } = serde_json::from_slice(line).map_err(|_| ManifestFault::Unreadable)?;
        if format != FORMAT {
            return Err(ManifestFault::Newer(format));
        }
        serde_json::from_slice(line).map_err(|_| ManifestFault::Unreadable)
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    random::push_hex(&mut text, bytes);
    text
}

/// Without a deadline: an audit may be large.
async fn rows(conn: &mut AnyConnection) -> Result<BTreeMap<String, u64>, StoreError> {
    let tables =
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    let mut rows = BTreeMap::new();
    for table in sqlx::query(tables).fetch_all(&mut *conn).await? {
        let name = row::text(&table, "name")?;
        // Safe: a quoted name.
        let count = format!("SELECT count(*) AS rows FROM \"{}\"", name.replace('"', "\"\""));
        let counted = sqlx::query(AssertSqlSafe(count)).fetch_one(&mut *conn).await?;
        let count = u64::try_from(row::integer(&counted, "rows")?).unwrap_or_default();
        rows.insert(name, count);
    }
    Ok(rows)
}
