//! Claims of host names.
//!
//! A name belongs to one deployment. Between projects a name is refused also where it covers, or is covered by, one
//! of theirs, so that nobody takes over a part of another's names. Within a project it may be covered: the exact
//! name wins. A claim is decided under a lock, so that two at once cannot both find the name free.

use std::collections::HashSet;

use certward_pki::HostName;
use sqlx::AnyConnection;
use thiserror::Error;

use crate::{Deployment, DeploymentId, StoreError, lock, row};

/// A host is claimed already: by an equal one, or, from another project, by one that covers it or is covered by it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the host {0} is taken")]
pub struct HostTaken(pub HostName);

pub(crate) async fn of_deployment(
    conn: &mut AnyConnection,
    id: &DeploymentId,
) -> Result<Vec<HostName>, StoreError> {
    let rows = sqlx::query("SELECT name FROM host WHERE deployment = $1 ORDER BY position")
        .bind(id.as_str())
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| HostName::parse(&row::text(row, "name")?).map_err(|_| row::unreadable("name")))
        .collect()
}

/// Whether the deployment may have all of its hosts; writes nothing. The lock lasts to the end of the transaction.
pub(crate) async fn claim(
    conn: &mut AnyConnection,
    deployment: &Deployment,
) -> Result<Result<(), HostTaken>, StoreError> {
    if deployment.hosts.is_empty() {
        return Ok(Ok(()));
    }
    lock::hosts(conn).await?;
    for host in &deployment.hosts {
        if is_taken(conn, deployment, host).await? {
            return Ok(Err(HostTaken(host.clone())));
        }
    }
    Ok(Ok(()))
}

/// One index look-up for each way of being taken: equal, covered by a wildcard, covering exact names.
async fn is_taken(
    conn: &mut AnyConnection,
    deployment: &Deployment,
    host: &HostName,
) -> Result<bool, StoreError> {
    let wildcard = host.covering_wildcard();
    let suffix = if host.is_wildcard() { host.parent() } else { None };
    let row = sqlx::query(
        "SELECT name FROM host WHERE name = $1 AND deployment <> $4
         UNION ALL SELECT name FROM host WHERE name = $2 AND project <> $5
         UNION ALL SELECT name FROM host WHERE parent = $3 AND project <> $5 AND name NOT LIKE '*%'
         LIMIT 1",
    )
    .bind(host.as_str())
    // No host is called by the empty name, and none has `*` for a parent: the part that does not apply finds nothing.
    .bind(wildcard.as_ref().map_or("", HostName::as_str))
    .bind(suffix.unwrap_or("*"))
    .bind(deployment.id.as_str())
    .bind(deployment.project.as_str())
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

/// Writes the deployment's hosts in their order, which must have been claimed. A name given twice counts once.
pub(crate) async fn write(conn: &mut AnyConnection, deployment: &Deployment) -> Result<(), StoreError> {
    let mut written = HashSet::new();
    for (position, host) in (0_i64..).zip(&deployment.hosts).filter(|(_, host)| written.insert(*host)) {
        sqlx::query(
            "INSERT INTO host (name, parent, deployment, project, position) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(host.as_str())
        .bind(host.parent().unwrap_or(""))
        .bind(deployment.id.as_str())
        .bind(deployment.project.as_str())
        .bind(position)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

pub(crate) async fn free(conn: &mut AnyConnection, id: &DeploymentId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM host WHERE deployment = $1").bind(id.as_str()).execute(conn).await?;
    Ok(())
}

/// Takes the deployment's names from whoever has them.
pub(crate) async fn seize(conn: &mut AnyConnection, deployment: &Deployment) -> Result<(), StoreError> {
    for host in &deployment.hosts {
        sqlx::query("DELETE FROM host WHERE name = $1").bind(host.as_str()).execute(&mut *conn).await?;
    }
    Ok(())
}

/// The names of the deployments after `after`, by deployment, of at most `limit` deployments; those without are there
/// too. What is no name is left out.
pub(crate) async fn by_deployment(
    conn: &mut AnyConnection,
    after: Option<&DeploymentId>,
    limit: u32,
) -> Result<Vec<(DeploymentId, Vec<HostName>)>, StoreError> {
    let rows = sqlx::query(
        "SELECT d.id, h.name FROM (SELECT id FROM deployment WHERE id > $1 ORDER BY id LIMIT $2) d
         LEFT JOIN host h ON h.deployment = d.id ORDER BY d.id, h.position",
    )
    .bind(after.map_or("", DeploymentId::as_str))
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await?;
    let mut deployments: Vec<(DeploymentId, Vec<HostName>)> = Vec::new();
    for row in &rows {
        let id = row::deployment_id(row, "id")?;
        if deployments.last().is_none_or(|(last, _)| *last != id) {
            deployments.push((id, Vec::new()));
        }
        let name = row::text_or_null(row, "name")?.and_then(|name| HostName::parse(&name).ok());
        if let Some((_, hosts)) = deployments.last_mut() {
            hosts.extend(name);
        }
    }
    Ok(deployments)
}
