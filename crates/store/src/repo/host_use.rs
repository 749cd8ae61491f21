//! The hosts of a deployment that its devices asked for.

use std::collections::{BTreeMap, HashSet};

use sqlx::AnyConnection;

use crate::{
    DeploymentId, HostSighting, Reader, StoreError, Timestamp,
    engine::{many_rows, row},
    model::seen_device::DEVICE_KEPT_FOR,
};

/// Hosts recorded of one deployment. The first ones are kept: a wildcard covers names without end.
pub const HOSTS_IN_USE_MAX: usize = 256;

impl Reader {
    /// The hosts of a deployment that devices asked for within [`DEVICE_KEPT_FOR`], by name.
    pub async fn hosts_in_use(&self, deployment: &DeploymentId) -> Result<Vec<HostSighting>, StoreError> {
        self.run(async |conn| {
            let rows =
                sqlx::query("SELECT host, last_seen_at FROM host_use WHERE deployment = $1 ORDER BY host")
                    .bind(deployment.as_str())
                    .fetch_all(conn)
                    .await?;
            let read = |row| {
                Ok(HostSighting {
                    deployment: deployment.clone(),
                    host: row::text(row, "host")?.into(),
                    at: Timestamp(row::integer(row, "last_seen_at")?),
                })
            };
            rows.iter().map(read).collect()
        })
        .await
    }
}

/// Returns how many were not recorded.
pub(crate) async fn record(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    hosts: &BTreeMap<&str, Timestamp>,
) -> Result<u64, StoreError> {
    if hosts.is_empty() {
        return Ok(0);
    }
    let rows = sqlx::query("SELECT host FROM host_use WHERE deployment = $1")
        .bind(deployment.as_str())
        .fetch_all(&mut *conn)
        .await?;
    let known = rows.iter().map(|row| row::text(row, "host")).collect::<Result<HashSet<_>, _>>()?;
    let mut room = HOSTS_IN_USE_MAX.saturating_sub(known.len());
    let mut over = 0;
    let mut written = Vec::new();
    for (host, at) in hosts {
        if !known.contains(*host) {
            if room == 0 {
                over += 1;
                continue;
            }
            room -= 1;
        }
        written.push((*host, *at));
    }
    let insert = "INSERT INTO host_use (deployment, host, last_seen_at)";
    let update = "ON CONFLICT (deployment, host) DO UPDATE SET last_seen_at = excluded.last_seen_at
        WHERE excluded.last_seen_at > host_use.last_seen_at";
    many_rows::insert(conn, (insert, update), 3, &written, |query, (host, at)| {
        query.bind(deployment.to_string()).bind((*host).to_owned()).bind(at.0)
    })
    .await?;
    Ok(over)
}

pub(crate) async fn prune(conn: &mut AnyConnection, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM host_use WHERE last_seen_at <= $1")
        .bind(now.before(DEVICE_KEPT_FOR).0)
        .execute(conn)
        .await?;
    Ok(())
}
