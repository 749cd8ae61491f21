//! The hosts of a deployment that its devices asked for.

use std::collections::BTreeMap;

use sqlx::AnyConnection;

use crate::{
    DeploymentId, HostInUse, Reader, StoreError, Timestamp,
    engine::{many_rows, row},
    model::seen_device::DEVICE_KEPT_FOR,
};

/// Hosts recorded of one deployment: as many as it may have. Of more, which it had one after the
/// other, those that were last asked for are kept.
pub const HOSTS_IN_USE_MAX: usize = 1_000;

impl Reader {
    /// The hosts of a deployment that devices asked for within [`DEVICE_KEPT_FOR`], by name.
    pub async fn hosts_in_use(&self, deployment: &DeploymentId) -> Result<Vec<HostInUse>, StoreError> {
        self.run(async |conn| {
            let rows =
                sqlx::query("SELECT host, last_seen_at FROM host_use WHERE deployment = $1 ORDER BY host")
                    .bind(deployment.as_str())
                    .fetch_all(conn)
                    .await?;
            let read = |row| {
                Ok(HostInUse {
                    host: row::text(row, "host")?.into(),
                    at: Timestamp(row::integer(row, "last_seen_at")?),
                })
            };
            rows.iter().map(read).collect()
        })
        .await
    }
}

/// Returns how many were not recorded, or not kept.
pub(crate) async fn record(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    hosts: &BTreeMap<&str, Timestamp>,
) -> Result<u64, StoreError> {
    if hosts.is_empty() {
        return Ok(0);
    }
    let written: Vec<_> = hosts.iter().map(|(host, at)| (*host, *at)).collect();
    let insert = "INSERT INTO host_use (deployment, host, last_seen_at)";
    let update = "ON CONFLICT (deployment, host) DO UPDATE SET last_seen_at = excluded.last_seen_at
        WHERE excluded.last_seen_at > host_use.last_seen_at";
    many_rows::insert(conn, (insert, update), 3, &written, |query, (host, at)| {
        query.bind(deployment.to_string()).bind((*host).to_owned()).bind(at.0)
    })
    .await?;
    let done = sqlx::query(
        "DELETE FROM host_use WHERE deployment = $1 AND host NOT IN
         (SELECT host FROM host_use WHERE deployment = $1 ORDER BY last_seen_at DESC, host LIMIT $2)",
    )
    .bind(deployment.as_str())
    .bind(HOSTS_IN_USE_MAX as i64)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

pub(crate) async fn prune(conn: &mut AnyConnection, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM host_use WHERE last_seen_at <= $1")
        .bind(now.before(DEVICE_KEPT_FOR).0)
        .execute(conn)
        .await?;
    Ok(())
}
