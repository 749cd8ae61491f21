//! Appending to the chain.
//!
//! The row of `audit_mark` with the head is locked until the transaction ends, so that one row
//! follows another on several nodes, too. It is the last lock of a transaction (`lock.rs`):
//! [`crate::Tx::commit`] appends what the transaction has noted.

use sqlx::AnyConnection;

use super::{
    chain::{self, START_ACTION},
    entry::{AuditEntry, AuditOrigin},
    record::AuditRecord,
};
use crate::{
    MasterKeyRing, StoreError, Timestamp,
    engine::{lock, row},
    sealed::{sealing::Sealer, secret},
};

/// The newest row, locked.
struct LockedHead {
    /// In the chain; 0 before the first row.
    number: i64,
    /// Empty before the first row.
    mac: Vec<u8>,
    /// Drawn for the next row's place in the list.
    row: Option<i64>,
}

pub(crate) async fn append(
    conn: &mut AnyConnection,
    keys: &MasterKeyRing,
    now: Timestamp,
    entries: &[AuditEntry],
) -> Result<(), StoreError> {
    // Before the head, in the order of locks.
    let sealer = &*secret::sealer(conn, keys).await?;
    let mut head = LockedHead::lock(conn).await?;
    if head.number == 0 {
        let start = start(conn, now).await?;
        head.write(conn, sealer, start).await?;
    }
    for entry in entries {
        head.write(conn, sealer, record(entry, now)).await?;
    }
    head.store(conn).await
}

/// The first row attests how many rows without a MAC there are.
async fn start(conn: &mut AnyConnection, now: Timestamp) -> Result<AuditRecord, StoreError> {
    let count = sqlx::query("SELECT count(*) AS rows FROM audit").fetch_one(conn).await?;
    let entry = AuditEntry {
        detail: format!("{} rows before this one have no MAC", row::integer(&count, "rows")?),
        ..AuditEntry::new(AuditOrigin::certward(), START_ACTION, "audit")
    };
    Ok(record(&entry, now))
}

/// Without its place.
fn record(entry: &AuditEntry, now: Timestamp) -> AuditRecord {
    let AuditOrigin { actor, address, request } = &entry.origin;
    let stored = |text: &str| row::storable(text).into_owned();
    AuditRecord {
        row: 0,
        at: now,
        actor: stored(actor),
        action: entry.action.to_owned(),
        subject: stored(&entry.subject),
        detail: stored(&entry.detail),
        project: entry.project.as_ref().map(ToString::to_string),
        deployment: entry.deployment.as_ref().map(ToString::to_string),
        address: address.map(|address| address.to_canonical().to_string()),
        request: request.map(|request| request.to_string()),
        refusal: entry.refusal.as_deref().map(stored),
        certificate: entry.certificate.clone(),
        link: None,
    }
}

impl LockedHead {
    async fn lock(conn: &mut AnyConnection) -> Result<Self, StoreError> {
        // RETURNING is evaluated under the lock, so both numbers grow alike.
        let sql = if lock::is_postgres(conn) {
            "UPDATE audit_mark SET position = position WHERE name = 'head'
             RETURNING position, row_mac, nextval(pg_get_serial_sequence('audit', 'number')) AS number"
        } else {
            "UPDATE audit_mark SET position = position WHERE name = 'head'
             RETURNING position, row_mac,
                 (SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'audit') AS number"
        };
        let head = sqlx::query(sql).fetch_optional(conn).await?;
        let head = head.ok_or_else(|| StoreError::corrupt("the head of the audit is missing"))?;
        Ok(Self {
            number: row::integer(&head, "position")?,
            mac: row::bytes_or_null(&head, "row_mac")?.unwrap_or_default(),
            row: Some(row::integer(&head, "number")?),
        })
    }

    async fn write(
        &mut self,
        conn: &mut AnyConnection,
        sealer: &Sealer,
        record: AuditRecord,
    ) -> Result<(), StoreError> {
        let row = match self.row.take() {
            Some(row) => row,
            None => draw(conn).await?,
        };
        let (number, record) = (self.number + 1, AuditRecord { row, ..record });
        let message = chain::row_message(&self.mac, number, sealer.id().as_bytes(), &record);
        let mac = sealer.audit_key().mac(&message);
        insert(conn, record, number, sealer.id().as_bytes(), &mac).await?;
        (self.number, self.mac) = (number, mac.to_vec());
        Ok(())
    }

    async fn store(self, conn: &mut AnyConnection) -> Result<(), StoreError> {
        sqlx::query("UPDATE audit_mark SET position = $1, row_mac = $2 WHERE name = 'head'")
            .bind(self.number)
            .bind(self.mac)
            .execute(conn)
            .await?;
        Ok(())
    }
}

/// The next place in the list.
async fn draw(conn: &mut AnyConnection) -> Result<i64, StoreError> {
    let sql = if lock::is_postgres(conn) {
        "SELECT nextval(pg_get_serial_sequence('audit', 'number')) AS number"
    } else {
        "SELECT coalesce(max(seq), 0) + 1 AS number FROM sqlite_sequence WHERE name = 'audit'"
    };
    row::integer(&sqlx::query(sql).fetch_one(conn).await?, "number")
}

async fn insert(
    conn: &mut AnyConnection,
    record: AuditRecord,
    number: i64,
    master_key: &[u8],
    mac: &[u8],
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO audit (number, at, actor, action, subject, detail, project, deployment, address, request, refusal,
             fingerprint_before, fingerprint_after, position, master_key, mac)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(record.row)
    .bind(record.at.0)
    .bind(record.actor)
    .bind(record.action)
    .bind(record.subject)
    .bind(record.detail)
    .bind(record.project)
    .bind(record.deployment)
    .bind(record.address)
    .bind(record.request)
    .bind(record.refusal)
    .bind(record.certificate.before)
    .bind(record.certificate.after)
    .bind(number)
    .bind(master_key)
    .bind(mac)
    .execute(conn)
    .await?;
    Ok(())
}
