//! The two marks of the chain: its newest row, and the newest row that is pruned.

use sqlx::{AnyConnection, any::AnyRow};

use super::{chain, checkpoint::AuditCheckpoint, head::AuditHead};
use crate::{MasterKeyRing, StoreError, Timestamp, engine::row, sealed::kept_audit_key};

impl AuditCheckpoint {
    /// With its MAC, which may be wrong.
    fn read(row: &AnyRow) -> Result<(Self, Vec<u8>), StoreError> {
        let checkpoint = Self {
            number: row::integer(row, "position")?,
            at: Timestamp(row::integer(row, "at")?),
            row_mac: row::bytes(row, "row_mac")?,
            row: row::integer(row, "number")?,
            master_key: row::bytes(row, "master_key")?,
        };
        Ok((checkpoint, row::bytes(row, "mac")?))
    }

    pub(crate) async fn write(&self, conn: &mut AnyConnection, mac: &[u8]) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO audit_mark (name, position, row_mac, number, at, master_key, mac)
             VALUES ('checkpoint', $1, $2, $3, $4, $5, $6)
             ON CONFLICT (name) DO UPDATE SET position = excluded.position, row_mac = excluded.row_mac,
                 number = excluded.number, at = excluded.at, master_key = excluded.master_key, mac = excluded.mac",
        )
        .bind(self.number)
        .bind(self.row_mac.as_slice())
        .bind(self.row)
        .bind(self.at.0)
        .bind(self.master_key.as_slice())
        .bind(mac)
        .execute(conn)
        .await?;
        Ok(())
    }
}

/// A checkpoint that is none of ours.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ForgedCheckpoint;

/// The checkpoint, with its MAC verified. `None`: nothing was pruned.
pub(crate) async fn checkpoint(
    conn: &mut AnyConnection,
    keys: &MasterKeyRing,
) -> Result<Result<Option<AuditCheckpoint>, ForgedCheckpoint>, StoreError> {
    let row = sqlx::query(
        "SELECT position, row_mac, number, at, master_key, mac FROM audit_mark WHERE name = 'checkpoint'",
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(Ok(None)) };
    let (checkpoint, mac) = match AuditCheckpoint::read(&row) {
        Err(StoreError::Corrupt(_)) => return Ok(Err(ForgedCheckpoint)),
        read => read?,
    };
    let key = kept_audit_key::of_id(conn, keys, &checkpoint.master_key).await?;
    let genuine = key.is_some_and(|key| key.verifies(&chain::checkpoint_message(&checkpoint), &mac));
    Ok(if genuine { Ok(Some(checkpoint)) } else { Err(ForgedCheckpoint) })
}

/// As stored. `None`: no row was chained yet.
pub(crate) async fn head(conn: &mut AnyConnection) -> Result<Option<AuditHead>, StoreError> {
    let row = sqlx::query("SELECT position, row_mac FROM audit_mark WHERE name = 'head'")
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let mac = row::bytes_or_null(&row, "row_mac")?;
    let number = row::integer(&row, "position")?;
    Ok(mac.map(|mac| AuditHead::of(number, &mac)))
}
