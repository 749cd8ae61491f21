use std::time::Duration;

use sqlx::AnyConnection;

use crate::{
    MasterKeyId, MasterKeyRing, NodeId, Reader, Store, StoreError, Timestamp, engine::row, repo::ending,
};

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

/// The master keys of a listed node, as it reported them last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHolder {
    /// The node.
    pub node: NodeId,
    /// When it was heard.
    pub heard_at: Timestamp,
    /// The keys that its process holds; `None`: it is of a release that does not report them.
    pub keys: Option<Vec<MasterKeyId>>,
    /// The key of its replica; `None`: it has none.
    pub replica: Option<MasterKeyId>,
}

impl KeyHolder {
    /// Whether it can open what is sealed under `key`.
    pub fn holds(&self, key: MasterKeyId) -> bool {
        self.keys.as_ref().is_some_and(|keys| keys.contains(&key))
    }

    /// Whether no record of its replica is under another key than `key`.
    pub fn needs_only(&self, key: MasterKeyId) -> bool {
        self.holds(key) && self.replica.is_none_or(|replica| replica == key)
    }
}

impl Reader {
    /// The nodes heard within the last hour, by id, with the keys that they hold.
    pub async fn key_holders(&self, now: Timestamp) -> Result<Vec<KeyHolder>, StoreError> {
        self.run(async |conn| key_holders(conn, now).await).await
    }
}

impl Store {
    /// Records that a process runs, and its master keys; not a membership. `since`: `None` at
    /// first, then the value returned.
    pub async fn record_process(
        &self,
        node: &NodeId,
        process: NodeProcess,
        since: Option<Timestamp>,
    ) -> Result<Timestamp, StoreError> {
        let mut tx = self.begin().await?;
        let (since, now, keys) = (since.unwrap_or(tx.now()), tx.now(), self.inner.keys.clone());
        tx.step(async |conn| record(conn, node, process, &keys, since, now).await).await?;
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
    keys: &MasterKeyRing,
    started_at: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    let held: Vec<String> = keys.ids().iter().map(ToString::to_string).collect();
    sqlx::query(
        "INSERT INTO node_process (node, role, version, started_at, heard_at, master_keys, replica_key, keys_heard_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $5)
         ON CONFLICT (node) DO UPDATE SET role = excluded.role, version = excluded.version,
             started_at = excluded.started_at, heard_at = excluded.heard_at, master_keys = excluded.master_keys,
             replica_key = excluded.replica_key, keys_heard_at = excluded.keys_heard_at",
    )
    .bind(node.as_str())
    .bind(process.role.as_str())
    .bind(process.version)
    .bind(started_at.0)
    .bind(now.0)
    .bind(held.join(","))
    .bind(keys.replica_key().map(|key| key.to_string()))
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn key_holders(
    conn: &mut AnyConnection,
    now: Timestamp,
) -> Result<Vec<KeyHolder>, StoreError> {
    let rows = sqlx::query(
        "SELECT node, heard_at, replica_key,
                CASE WHEN keys_heard_at = heard_at THEN master_keys ELSE NULL END AS held
         FROM node_process WHERE heard_at > $1 ORDER BY node",
    )
    .bind(now.before(LISTED_FOR).0)
    .fetch_all(conn)
    .await?;
    let id = |text: &str, column| MasterKeyId::parse(text).map_err(|_| row::unreadable(column));
    rows.iter()
        .map(|row| {
            let held = row::text_or_null(row, "held")?;
            let keys = held.map(|held| held.split(',').map(|text| id(text, "master_keys")).collect());
            let replica = row::text_or_null(row, "replica_key")?;
            Ok(KeyHolder {
                node: row::node_id(row, "node")?,
                heard_at: Timestamp(row::integer(row, "heard_at")?),
                keys: keys.transpose()?,
                replica: replica.map(|text| id(&text, "replica_key")).transpose()?,
            })
        })
        .collect()
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
