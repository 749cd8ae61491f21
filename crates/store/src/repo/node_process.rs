use std::time::Duration;

use sqlx::AnyConnection;

use crate::{NodeId, Store, StoreError, Timestamp, engine::row, repo::ending};

/// After the last report.
pub(crate) const LISTED_FOR: Duration = Duration::from_secs(60 * 60);

/// The parts that a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Role {
    /// Both.
    #[default]
    All,
    /// The API only: no lease, not counted.
    Api,
    /// Devices, and the API's status endpoints.
    Gateway,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::All, Self::Api, Self::Gateway];

    /// Its name in configuration and store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Api => "api",
            Self::Gateway => "gateway",
        }
    }

    /// Whether it serves the API.
    pub fn has_api(self) -> bool {
        self != Self::Gateway
    }

    /// Whether it serves devices.
    pub fn has_gateway(self) -> bool {
        self != Self::Api
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A node's process, as it reports itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeProcess {
    /// Its role.
    pub role: Role,
    /// The program's version.
    pub version: &'static str,
}

impl Store {
    /// Records that a process runs; not a membership. `since`: `None` at first, then the value
    /// returned.
    pub async fn record_process(
        &self,
        node: &NodeId,
        process: NodeProcess,
        since: Option<Timestamp>,
    ) -> Result<Timestamp, StoreError> {
        let mut tx = self.begin().await?;
        let (since, now) = (since.unwrap_or(tx.now()), tx.now());
        tx.step(async |conn| record(conn, node, process, since, now).await).await?;
        tx.commit().await?;
        Ok(since)
    }

    /// Removes the report of a process that ends.
    pub async fn remove_process(&self, node: &NodeId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let now = tx.now();
        let forget = tx.step(async |conn| {
            sqlx::query("DELETE FROM node_process WHERE node = $1")
                .bind(node.as_str())
                .execute(&mut *conn)
                .await?;
            ending::remove_node(conn, node, now).await
        });
        forget.await?;
        tx.commit().await
    }
}

/// Writes all columns: the row may have been pruned.
async fn record(
    conn: &mut AnyConnection,
    node: &NodeId,
    process: NodeProcess,
    started_at: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO node_process (node, role, version, started_at, heard_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (node) DO UPDATE SET role = excluded.role, version = excluded.version,
             started_at = excluded.started_at, heard_at = excluded.heard_at",
    )
    .bind(node.as_str())
    .bind(process.role.as_str())
    .bind(process.version)
    .bind(started_at.0)
    .bind(now.0)
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn prune(conn: &mut AnyConnection, now: Timestamp) -> Result<(), StoreError> {
    let rows = sqlx::query("DELETE FROM node_process WHERE heard_at <= $1 RETURNING node")
        .bind(now.before(LISTED_FOR).0)
        .fetch_all(&mut *conn)
        .await?;
    for row in &rows {
        ending::remove_node(conn, &row::node_id(row, "node")?, now).await?;
    }
    Ok(())
}
