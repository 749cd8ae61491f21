use sqlx::AnyConnection;

use crate::{StoreError, Timestamp, engine::row};

/// How many deployments stand where, and when the first certificate ends: for whoever must not forget an expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatusCounts {
    /// Deployments without a certificate.
    pub absent: u64,
    /// See [`crate::TlsState::Pending`].
    pub pending: u64,
    /// See [`crate::TlsState::Running`].
    pub running: u64,
    /// See [`crate::TlsState::Failed`].
    pub failed: u64,
    /// See [`crate::TlsState::Terminated`].
    pub terminated: u64,
    /// The earliest notAfter of the newest uploads of all deployments; `None` where no certificate is set.
    pub earliest_not_after: Option<Timestamp>,
}

/// Counts the deployments after `after`, by id, at most `limit`, and adds them to `census`. Where to go on; `None` at the end.
///
/// In pages, each a statement that lasts as long with a million deployments as with a few: one statement over all of them
/// would one day take longer than a statement may, and from then on nothing would be counted at all. A deployment that
/// changes meanwhile is counted once, as it stood before or after.
pub(crate) async fn add_page(
    conn: &mut AnyConnection,
    census: &mut StatusCounts,
    after: &str,
    limit: u32,
) -> Result<Option<String>, StoreError> {
    // The page is cut out first, so that no plan reads more than it.
    let rows = sqlx::query(
        "SELECT d.tls_state AS state, count(*) AS deployments, min(v.not_after) AS earliest, max(d.id) AS last
         FROM (SELECT id, tls_state, tls_version FROM deployment WHERE id > $1 ORDER BY id LIMIT $2) d
         LEFT JOIN version v ON v.deployment = d.id AND v.version = d.tls_version GROUP BY d.tls_state",
    )
    .bind(after)
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await?;
    let mut last = None;
    for found in rows {
        let deployments = u64::try_from(row::integer(&found, "deployments")?)
            .map_err(|_| row::unreadable("deployments"))?;
        let place = match row::text(&found, "state")?.as_str() {
            "absent" => &mut census.absent,
            "pending" => &mut census.pending,
            "running" => &mut census.running,
            "failed" => &mut census.failed,
            "terminated" => &mut census.terminated,
            _ => return Err(row::unreadable("tls_state")),
        };
        *place += deployments;
        let earliest = row::integer_or_null(&found, "earliest")?.map(Timestamp);
        census.earliest_not_after = census.earliest_not_after.into_iter().chain(earliest).min();
        last = last.max(Some(row::text(&found, "last")?));
    }
    Ok(last)
}
