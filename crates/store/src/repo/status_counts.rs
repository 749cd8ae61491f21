use sqlx::AnyConnection;

use crate::{StoreError, Timestamp, engine::row};

/// Deployments by state, and the earliest expiry.
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
    /// The newest uploads' earliest notAfter; `None` without certificates.
    pub earliest_not_after: Option<Timestamp>,
}

/// Adds a page of at most `limit` deployments. Returns where to continue.
///
/// One statement over a million deployments could exceed the statement timeout and never succeed. A
/// deployment that changes in between is counted once.
pub(crate) async fn add_page(
    conn: &mut AnyConnection,
    census: &mut StatusCounts,
    after: &str,
    limit: u32,
) -> Result<Option<String>, StoreError> {
    // First, so that no plan reads more.
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
