use sqlx::AnyConnection;

use crate::{StoreError, Timestamp, row};

/// How many deployments stand where, and when the first certificate ends: for whoever must not forget an expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
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

/// Reads every deployment once: some 100 ms for 100,000 of them, so it is for a task of its own and not for a request.
pub(crate) async fn take(conn: &mut AnyConnection) -> Result<Census, StoreError> {
    let rows = sqlx::query(
        "SELECT d.tls_state AS state, count(*) AS deployments, min(v.not_after) AS earliest
         FROM deployment d LEFT JOIN version v ON v.deployment = d.id AND v.version = d.tls_version
         GROUP BY d.tls_state",
    )
    .fetch_all(conn)
    .await?;
    let mut census = Census::default();
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
        *place = deployments;
        let earliest = row::integer_or_null(&found, "earliest")?.map(Timestamp);
        census.earliest_not_after = census.earliest_not_after.into_iter().chain(earliest).min();
    }
    Ok(census)
}
