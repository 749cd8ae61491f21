//! All columns with sealed records, and how their rows are read and replaced.

use sqlx::AnyConnection;

use crate::{StoreError, engine::row, sealed::sealing::RecordPlace};

/// A table with sealed records.
#[derive(Debug)]
pub(crate) struct SealedColumn {
    pub(crate) table: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "a test compares it with the schema"))]
    pub(crate) column: &'static str,
    /// `row`, `version`, `sealed` of the rows after `$1`, `$2`, in that order, at most `$3`.
    page: &'static str,
    /// Sets `$1` in the row `$2`, `$3` if it still has `$4`.
    swap: &'static str,
}

pub(crate) const SEALED: [SealedColumn; 3] = [
    SealedColumn {
        table: "version",
        column: "sealed_key",
        page: "SELECT deployment AS row, version, sealed_key AS sealed FROM version
               WHERE (deployment, version) > ($1, $2) ORDER BY deployment, version LIMIT $3",
        swap: "UPDATE version SET sealed_key = $1 WHERE deployment = $2 AND version = $3 AND sealed_key = $4",
    },
    SealedColumn {
        table: "alert_channel",
        column: "sealed",
        page: "SELECT id AS row, CAST(0 AS BIGINT) AS version, sealed FROM alert_channel
               WHERE (id, CAST(0 AS BIGINT)) > ($1, $2) ORDER BY id LIMIT $3",
        swap: "UPDATE alert_channel SET sealed = $1 WHERE id = $2 AND $3 = 0 AND sealed = $4",
    },
    // Last: it has the check value of a replica.
    SealedColumn {
        table: "secret",
        column: "sealed",
        page: "SELECT name AS row, CAST(0 AS BIGINT) AS version, sealed FROM secret
               WHERE (name, CAST(0 AS BIGINT)) > ($1, $2) ORDER BY name LIMIT $3",
        swap: "UPDATE secret SET sealed = $1 WHERE name = $2 AND $3 = 0 AND sealed = $4",
    },
];

/// The primary key of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowKey {
    pub(crate) row: String,
    pub(crate) version: i64,
}

impl RowKey {
    /// Before all rows.
    pub(crate) fn first() -> Self {
        Self { row: String::new(), version: i64::MIN }
    }
}

/// A record, and what replaces it.
#[derive(Debug)]
pub(crate) struct Swap {
    pub(crate) key: RowKey,
    pub(crate) from: Vec<u8>,
    pub(crate) to: Vec<u8>,
}

impl SealedColumn {
    pub(crate) fn place<'a>(&self, key: &'a RowKey) -> RecordPlace<'a> {
        RecordPlace { table: self.table, row: &key.row, version: key.version }
    }

    /// Rows after `after`; `None` for an erased record.
    pub(crate) async fn page(
        &self,
        conn: &mut AnyConnection,
        after: &RowKey,
        limit: u32,
    ) -> Result<Vec<(RowKey, Option<Vec<u8>>)>, StoreError> {
        let rows = sqlx::query(self.page)
            .bind(after.row.as_str())
            .bind(after.version)
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await?;
        rows.iter()
            .map(|row| {
                let key = RowKey { row: row::text(row, "row")?, version: row::integer(row, "version")? };
                Ok((key, row::bytes_or_null(row, "sealed")?))
            })
            .collect()
    }

    /// Replaces the records that are still as they were read. Returns their number.
    pub(crate) async fn swap(&self, conn: &mut AnyConnection, swaps: &[Swap]) -> Result<u64, StoreError> {
        let mut swapped = 0;
        for Swap { key, from, to } in swaps {
            let done = sqlx::query(self.swap)
                .bind(to.as_slice())
                .bind(key.row.as_str())
                .bind(key.version)
                .bind(from.as_slice())
                .execute(&mut *conn)
                .await?;
            swapped += done.rows_affected();
        }
        Ok(swapped)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Address, MasterKey, Store, SystemClock};

    /// Byte strings that are not sealed.
    const PLAIN: [(&str, &str); 21] = [
        ("api_key", "digest"),
        ("audit", "mac"),
        ("audit", "master_key"),
        ("audit_mark", "mac"),
        ("audit_mark", "master_key"),
        ("audit_mark", "row_mac"),
        ("crl", "revision"),
        ("crl", "signer"),
        ("crl_part", "der"),
        ("deployment", "revocation_mark"),
        ("device", "id"),
        ("device", "path"),
        ("issuer_path", "example"),
        ("issuer_path", "path"),
        ("offer_day", "offer"),
        ("revocation", "deny_key"),
        ("revocation", "device"),
        ("revocation", "id"),
        ("version", "chain"),
        ("version", "client_cas"),
        ("version", "trust_scope"),
    ];

    #[tokio::test]
    async fn every_column_of_byte_strings_is_resealed_or_known_as_plain() {
        let folder = tempfile::tempdir().expect("a folder");
        let address = Address::Embedded(folder.path().join("data"));
        let store = Store::init(&address, &MasterKey::generate(), Arc::new(SystemClock)).await.expect("made");
        let columns = async |conn: &mut AnyConnection| {
            let sql = "SELECT m.name AS place, c.name AS named FROM sqlite_master m
                       JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND c.type = 'BLOB'";
            let rows = sqlx::query(sql).fetch_all(conn).await?;
            rows.iter().map(|row| Ok((row::text(row, "place")?, row::text(row, "named")?))).collect()
        };
        let mut found: Vec<(String, String)> = store.read().run(columns).await.expect("read");
        let sealed = SEALED.iter().map(|sealed| (sealed.table, sealed.column));
        let mut known: Vec<_> =
            sealed.chain(PLAIN).map(|(table, column)| (table.to_owned(), column.to_owned())).collect();
        found.sort();
        known.sort();
        assert_eq!(found, known, "add a new column to SEALED, or to PLAIN if it holds nothing secret");
    }
}
