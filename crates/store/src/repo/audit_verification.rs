use std::collections::HashMap;

use sqlx::{AnyConnection, AssertSqlSafe};

use crate::{
    AuditCheckpoint, AuditFault, AuditHead, AuditRecord, MasterKeyRing, Reader, Store, StoreError,
    audit::{
        mark,
        record::COLUMNS,
        verifier::{VerifiedRows, Verifier},
    },
    engine::row,
    sealed::{audit_key::AuditKey, kept_audit_key},
};

/// Some 400 KiB.
const PAGE_ROWS: i64 = 1_000;

/// A chain without a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditReport {
    /// The newest row; `None`: the chain has not begun.
    pub head: Option<AuditHead>,
    /// Rows verified.
    pub rows: u64,
    /// The number of the oldest one.
    pub first: Option<i64>,
    /// What was pruned before it.
    pub checkpoint: Option<AuditCheckpoint>,
    /// Rows without a MAC before the chain: of the release before.
    pub before_chain: i64,
    /// Rows without a MAC among those of the chain, as many as the caller knows of at most.
    pub without_mac: i64,
    /// Noted heads of pruned rows, which cannot be compared.
    pub too_old: Vec<AuditHead>,
}

impl Store {
    /// Verifies the audit in one snapshot: each row's MAC, the order, and that the chain contains
    /// the `noted` heads. Memory is bounded. `known`: so many rows without a MAC may be among those
    /// of the chain, written by nodes of the release before.
    ///
    /// # Errors
    /// [`StoreError`]. A fault of the chain is the inner error.
    pub async fn verify_audit(
        &self,
        noted: Vec<AuditHead>,
        known: i64,
    ) -> Result<Result<AuditReport, AuditFault>, StoreError> {
        let snapshot = self.snapshot().await?;
        match verify(&snapshot, noted, known).await {
            Ok(report) => Ok(Ok(report)),
            Err(Stop::Fault(fault)) => Ok(Err(fault)),
            Err(Stop::Store(error)) => Err(error),
        }
    }
}

/// Why verification ends early.
enum Stop {
    Fault(AuditFault),
    Store(StoreError),
}

impl From<AuditFault> for Stop {
    fn from(fault: AuditFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

async fn verify(snapshot: &Reader, noted: Vec<AuditHead>, known: i64) -> Result<AuditReport, Stop> {
    let held = &snapshot.keys;
    let checkpoint = snapshot.run(async |conn| mark::checkpoint(conn, held).await).await?;
    let checkpoint = checkpoint.map_err(|_forged| AuditFault::Checkpoint)?;
    let mut verifier = Verifier::new(checkpoint.as_ref(), noted)?;
    let mut keys = HashMap::new();
    let mut after = (0, 0);
    loop {
        let page = async |conn: &mut AnyConnection| page(conn, held, &mut verifier, &mut keys, after).await;
        match snapshot.run(page).await?? {
            Some(last) => after = last,
            None => break,
        }
    }
    let stored = snapshot.run(async |conn| mark::head(conn).await).await?;
    let (head, seen) = verifier.finish(stored.as_ref())?;
    let (before_chain, without_mac) = without_mac(snapshot, &seen, known).await?;
    let VerifiedRows { rows, first, too_old, .. } = seen;
    Ok(AuditReport { head, rows, first, checkpoint, before_chain, without_mac, too_old })
}

/// The position and number of the page's last row; `None`: there are no more.
async fn page(
    conn: &mut AnyConnection,
    held: &MasterKeyRing,
    verifier: &mut Verifier,
    keys: &mut HashMap<Vec<u8>, Option<AuditKey>>,
    after: (i64, i64),
) -> Result<Result<Option<(i64, i64)>, AuditFault>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM audit a WHERE a.position IS NOT NULL AND (a.position, a.number) > ($1, $2)
         ORDER BY a.position, a.number LIMIT $3"
    );
    // Safe: values are bound.
    let query = sqlx::query(AssertSqlSafe(sql)).bind(after.0).bind(after.1).bind(PAGE_ROWS);
    let rows = query.fetch_all(&mut *conn).await?;
    let mut last = None;
    for row in &rows {
        // SQLite takes any type in any column.
        let record = match AuditRecord::read(row) {
            Err(StoreError::Corrupt(_)) => return Ok(Err(AuditFault::Changed(verifier.expected()))),
            record => record?,
        };
        let Some(link) = &record.link else { continue };
        if !keys.contains_key(&link.master_key) {
            let key = kept_audit_key::of_id(conn, held, &link.master_key).await?;
            keys.insert(link.master_key.clone(), key);
        }
        if let Err(fault) = verifier.take(&record, link, keys[&link.master_key].as_ref()) {
            return Ok(Err(fault));
        }
        last = Some((link.number, record.row));
    }
    Ok(Ok(last))
}

/// Rows without a MAC: before the chain, and among its rows.
async fn without_mac(snapshot: &Reader, seen: &VerifiedRows, known: i64) -> Result<(i64, i64), Stop> {
    // Without a chain all of them are before it.
    let start = seen.list_start.unwrap_or(i64::MAX);
    let (before, among, first) = snapshot
        .run(async |conn| {
            let counted = sqlx::query(
                "SELECT coalesce(sum(CASE WHEN number < $1 THEN 1 ELSE 0 END), 0) AS earlier, count(*) AS all_rows
                 FROM audit WHERE position IS NULL",
            )
            .bind(start)
            .fetch_one(&mut *conn)
            .await?;
            let before = row::integer(&counted, "earlier")?;
            let first = sqlx::query(
                "SELECT action, subject, at FROM audit WHERE position IS NULL AND number >= $1
                 ORDER BY number LIMIT 1",
            )
            .bind(start)
            .fetch_optional(conn)
            .await?;
            Ok((before, row::integer(&counted, "all_rows")? - before, first))
        })
        .await?;
    let counted = match seen.list_start {
        // All rows up to a checkpoint are pruned, those before the chain too.
        Some(_) => seen.counted_before.unwrap_or(0),
        None => before,
    };
    if before > counted {
        return Err(AuditFault::BeforeChain { found: before, counted }.into());
    }
    if among > known {
        let text = |column| first.as_ref().and_then(|row| row::text(row, column).ok()).unwrap_or_default();
        let first = format!("{} {}", text("action"), text("subject"));
        return Err(AuditFault::WithoutMac { found: among, known, first }.into());
    }
    Ok((before, among))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Address, AuditEntry, AuditOrigin, MasterKey, MasterKeyId, RekeyNodes, SystemClock};

    #[tokio::test]
    async fn a_chain_continues_over_a_change_of_the_master_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let address = Address::Embedded(folder.path().join("data"));
        let (first, second) = (MasterKey::generate(), MasterKey::generate());
        let keys = MasterKeyRing::new(&first, Some(&second));
        let store = Store::init(&address, &keys, Arc::new(SystemClock)).await.expect("made");
        let fill = async || {
            let mut tx = store.begin().await.expect("a transaction");
            tx.audit(AuditEntry::new(AuditOrigin::certward(), "fill", "s"));
            tx.commit().await.expect("committed");
        };
        fill().await;
        store.switch_master_key(&first, MasterKeyId::of(&second), RekeyNodes::None).await.expect("switched");
        fill().await;

        let tx = store.inner.engine().expect("open").begin().await.expect("a transaction");
        let after = Reader::of_snapshot(tx, &MasterKeyRing::from(&second));
        let Ok(report) = verify(&after, Vec::new(), 0).await else { panic!("it is sound") };
        assert_eq!(report.rows, 4, "start, fill, switch, fill");
        let forget = async |conn: &mut AnyConnection| {
            sqlx::query("DELETE FROM secret WHERE name LIKE 'audit.%'").execute(conn).await?;
            Ok(())
        };
        after.run(forget).await.expect("done");
        let unknown = verify(&after, Vec::new(), 0).await;
        assert!(matches!(unknown, Err(Stop::Fault(AuditFault::UnknownKey { number: 1, .. }))));
    }
}
