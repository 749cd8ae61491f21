//! Claims of host names. A name belongs to one deployment. Across projects, wildcards and the names
//! they cover exclude each other, so no project captures parts of another's names. Within a project
//! the exact name wins. Decided under a lock: no two claims find a name free.

use std::collections::HashSet;

use certward_pki::HostName;
use sqlx::AnyConnection;
use thiserror::Error;

use crate::{
    Deployment, DeploymentId, Generation, Reader, StoreError,
    engine::{lock, row},
};

/// An equal host is claimed, or in another project a covering or covered one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the host {0} is taken")]
pub struct HostTaken(pub HostName);

impl Reader {
    /// Deployments by id after `after`, at most `limit`, as nodes index them: for the warm-up.
    pub async fn hosts_after(
        &self,
        after: Option<&DeploymentId>,
        limit: u32,
    ) -> Result<Vec<Listed>, StoreError> {
        self.run(async |conn| {
            // Includes deployments without names, and those that cannot be read: their names must
            // not reach another deployment.
            let rows = sqlx::query(
                "SELECT d.id, d.generation, d.tls_state, h.name
                 FROM (SELECT id, generation, tls_state FROM deployment WHERE id > $1 ORDER BY id LIMIT $2) d
                 LEFT JOIN host h ON h.deployment = d.id ORDER BY d.id, h.position",
            )
            .bind(after.map_or("", DeploymentId::as_str))
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await?;
            let mut listed: Vec<Listed> = Vec::new();
            for row in &rows {
                let id = row::text(row, "id")?;
                if listed.last().is_none_or(|last| last.id.as_str() != id) {
                    let proof = match row::text(row, "tls_state")?.as_str() {
                        "absent" => ProofState::Absent,
                        "running" => ProofState::Running,
                        _ => ProofState::Unsettled,
                    };
                    let id = row::deployment_id(row, "id")?;
                    let generation = Generation(row::integer(row, "generation")?);
                    listed.push(Listed { id, hosts: Vec::new(), generation, proof });
                }
                let name = row::text_or_null(row, "name")?.and_then(|name| HostName::parse(&name).ok());
                if let Some(last) = listed.last_mut() {
                    last.hosts.extend(name);
                }
            }
            Ok(listed)
        })
        .await
    }

    /// The owner of the first claimed name: for the warm-up.
    pub async fn first_of(&self, names: &[HostName]) -> Result<Option<(HostName, DeploymentId)>, StoreError> {
        self.run(async |conn| {
            for name in names {
                let row = sqlx::query("SELECT deployment FROM host WHERE name = $1")
                    .bind(name.as_str())
                    .fetch_optional(&mut *conn)
                    .await?;
                if let Some(row) = row {
                    return Ok(Some((name.clone(), row::deployment_id(&row, "deployment")?)));
                }
            }
            Ok(None)
        })
        .await
    }
}

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

/// Checks without writing; locks until the transaction ends.
pub(crate) async fn claim(
    conn: &mut AnyConnection,
    deployment: &Deployment,
) -> Result<Result<(), HostTaken>, StoreError> {
    if deployment.spec.hosts.is_empty() {
        return Ok(Ok(()));
    }
    lock::hosts(conn).await?;
    for host in &deployment.spec.hosts {
        if is_taken(conn, deployment, host).await? {
            return Ok(Err(HostTaken(host.clone())));
        }
    }
    Ok(Ok(()))
}

/// Equal, covered by a wildcard, covering exact names: an index look-up each.
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
    // No host is empty or has the parent `*`.
    .bind(wildcard.as_ref().map_or("", HostName::as_str))
    .bind(suffix.unwrap_or("*"))
    .bind(deployment.id.as_str())
    .bind(deployment.project.as_str())
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

/// Without duplicates.
pub(crate) async fn write(conn: &mut AnyConnection, deployment: &Deployment) -> Result<(), StoreError> {
    let mut written = HashSet::new();
    for (position, host) in (0_i64..).zip(&deployment.spec.hosts).filter(|(_, host)| written.insert(*host)) {
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

pub(crate) async fn reassign(conn: &mut AnyConnection, deployment: &Deployment) -> Result<(), StoreError> {
    for host in &deployment.spec.hosts {
        sqlx::query("DELETE FROM host WHERE name = $1").bind(host.as_str()).execute(&mut *conn).await?;
    }
    Ok(())
}

/// A deployment as nodes index it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: DeploymentId,
    /// Its valid names.
    pub hosts: Vec<HostName>,
    /// Its generation.
    pub generation: Generation,
    /// Whether nodes must prove it.
    pub proof: ProofState,
}

/// A state reduced for nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofState {
    /// No certificate is set.
    Absent,
    /// Proven already.
    Running,
    /// [`crate::TlsState::Pending`], `Failed` or `Terminated`.
    Unsettled,
}
