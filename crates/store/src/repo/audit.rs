use sqlx::AnyConnection;

use crate::{Reader, StoreError, Timestamp, Tx, engine::row};

/// 20 MB at some 200 bytes each.
pub(crate) const KEPT: i64 = 100_000;

/// A change to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// The acting API key, or `certward`.
    pub actor: String,
    /// Such as `tls.replace`, `deployment.create`, `key.revoke`.
    pub action: &'static str,
    /// The id of its subject.
    pub subject: String,
    /// Facts in one line; never secret.
    pub detail: String,
}

/// A stored audit entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number; grows.
    pub number: i64,
    /// When it happened.
    pub at: Timestamp,
    /// See [`AuditEntry::actor`].
    pub actor: String,
    /// See [`AuditEntry::action`].
    pub action: String,
    /// See [`AuditEntry::subject`].
    pub subject: String,
    /// See [`AuditEntry::detail`].
    pub detail: String,
}

impl Reader {
    /// At most `limit` records, newest first.
    pub async fn audit(&self, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        self.run(async |conn| {
            let rows = sqlx::query(
                "SELECT number, at, actor, action, subject, detail FROM audit ORDER BY number DESC LIMIT $1",
            )
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await?;
            rows.iter()
                .map(|row| {
                    Ok(AuditRecord {
                        number: row::integer(row, "number")?,
                        at: Timestamp(row::integer(row, "at")?),
                        actor: row::text(row, "actor")?,
                        action: row::text(row, "action")?,
                        subject: row::text(row, "subject")?,
                        detail: row::text(row, "detail")?,
                    })
                })
                .collect()
        })
        .await
    }
}

impl Tx {
    /// Appends to the audit.
    pub async fn audit(&mut self, entry: AuditEntry) -> Result<(), StoreError> {
        let now = self.now;
        self.change(async |conn| {
            sqlx::query("INSERT INTO audit (at, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5)")
                .bind(now.0)
                .bind(row::storable(&entry.actor).into_owned())
                .bind(entry.action)
                .bind(row::storable(&entry.subject).into_owned())
                .bind(row::storable(&entry.detail).into_owned())
                .execute(conn)
                .await?;
            Ok(())
        })
        .await
    }
}

/// Returns whether more may remain.
pub(crate) async fn prune(conn: &mut AnyConnection, kept: i64, limit: u32) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT min(number) AS oldest, max(number) AS newest FROM audit")
        .fetch_one(&mut *conn)
        .await?;
    let (Some(oldest), Some(newest)) =
        (row::integer_or_null(&row, "oldest")?, row::integer_or_null(&row, "newest")?)
    else {
        return Ok(false);
    };
    let end = (newest - kept).min(oldest.saturating_add(i64::from(limit)) - 1);
    let done = sqlx::query("DELETE FROM audit WHERE number <= $1").bind(end).execute(conn).await?;
    Ok(done.rows_affected() >= u64::from(limit))
}
