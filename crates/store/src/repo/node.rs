use std::{sync::Arc, time::Duration};

use sqlx::{AnyConnection, any::AnyRow};
use tokio::time::Instant;

use crate::{
    DeploymentId, FeedPosition, Generation, NodeId, Reader, Store, StoreError, Timestamp, Tx,
    engine::{lock, pool::step, row},
    metrics::StoreWork,
    repo::{feed, node_process},
};

/// A membership session: random, drawn by each process, join and withdrawal. Reports of other
/// sessions are void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session(pub i64);

/// A node with a lease, or a report in the last hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// Its id.
    pub id: NodeId,
    /// `None`: not counted.
    pub lease: Option<Lease>,
    /// `None`: not reported by its release.
    pub process: Option<ProcessRecord>,
    /// Unsettled deployments that wait for its proof.
    pub unproven: u64,
}

/// A node's membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// When it joined.
    pub since: Timestamp,
    /// Its end. The node counts until a sweep ends the lease.
    pub until: Timestamp,
}

/// A node's newest reporting process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessRecord {
    /// See [`crate::Role`]; newer releases may add roles.
    pub role: String,
    /// Its version.
    pub version: String,
    /// First report.
    pub started_at: Timestamp,
    /// Last report.
    pub heard_at: Timestamp,
    /// Since the last report, by the store's clock.
    pub silent_for: Duration,
}

/// A counted node's proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredProof {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The counted node.
    pub node: NodeId,
    /// The newest proven, or removed, generation. `Generation(0)`: none.
    pub proven: Generation,
    /// Why its newest attempt failed.
    pub reason: Option<String>,
}

/// Joining nodes are counted for these.
macro_rules! unsettled {
    () => {
        "('pending', 'failed', 'terminated')"
    };
}

/// Counts `c` of deployments `d`.
macro_rules! waiting {
    () => {
        concat!(
            "FROM node_count c JOIN deployment d ON d.id = c.deployment ",
            "WHERE c.proven < d.generation AND d.tls_state IN ",
            unsettled!()
        )
    };
}

impl NodeRecord {
    fn read(row: &AnyRow, now: Timestamp) -> Result<Self, StoreError> {
        let time = |column| Ok::<_, StoreError>(row::integer_or_null(row, column)?.map(Timestamp));
        let lease = time("since")?.zip(time("lease_until")?).map(|(since, until)| Lease { since, until });
        let process = match time("started_at")?.zip(time("heard_at")?) {
            None => None,
            Some((started_at, heard_at)) => Some(ProcessRecord {
                role: row::text(row, "role")?,
                version: row::text(row, "version")?,
                started_at,
                heard_at,
                // Not negative after the clock was set back.
                silent_for: Duration::from_millis(
                    u64::try_from(now.0.saturating_sub(heard_at.0)).unwrap_or(0),
                ),
            }),
        };
        Ok(Self {
            id: row::node_id(row, "id")?,
            lease,
            process,
            unproven: u64::try_from(row::integer(row, "unproven")?)
                .map_err(|_| row::unreadable("unproven"))?,
        })
    }
}

impl Store {
    /// Renews the session's lease, expired or not; `false`: the node must join again.
    pub async fn renew_lease(
        &self,
        node: &NodeId,
        session: Session,
        lease: Duration,
    ) -> Result<bool, StoreError> {
        let began = Instant::now();
        let renewed = async {
            let engine = self.inner.engine()?;
            let mut conn = engine.write_as_member().await?;
            step(async {
                let until = engine.now(&mut conn, self.inner.clock.as_ref()).await?.after(lease);
                renew(&mut conn, node, session, until).await
            })
            .await
        };
        let renewed = renewed.await;
        self.inner.metrics.done(StoreWork::Write, began, &renewed);
        renewed
    }

    /// Nodes with a lease or a report in the last hour, by id.
    pub async fn nodes(&self) -> Result<Vec<NodeRecord>, StoreError> {
        let engine = self.inner.engine()?;
        let listed = async |conn: &mut AnyConnection| {
            let now = engine.now(conn, self.inner.clock.as_ref()).await?;
            listed(conn, now).await
        };
        self.read().run(listed).await
    }
}

impl Reader {
    /// Unsettled deployments that wait for this node, by id. For [`Store::read_as_member`].
    pub async fn unproven(&self, node: &NodeId) -> Result<Vec<DeploymentId>, StoreError> {
        self.run(async |conn| {
            let rows = sqlx::query(concat!("SELECT d.id ", waiting!(), " AND c.node = $1 ORDER BY d.id"))
                .bind(node.as_str())
                .fetch_all(conn)
                .await?;
            rows.iter().map(|row| row::deployment_id(row, "id")).collect()
        })
        .await
    }

    /// The nodes counted for a deployment's newest change.
    pub async fn counts(&self, deployment: &DeploymentId) -> Result<Vec<RequiredProof>, StoreError> {
        self.run(async |conn| counts(conn, deployment).await).await
    }
}

impl Tx {
    /// Locks out changes of nodes, sessions and deployments. Before any deployment is locked.
    pub async fn hold_nodes(&mut self) -> Result<(), StoreError> {
        self.step(async |conn| lock::nodes_change(conn).await).await
    }

    /// As [`Tx::hold_nodes`], for a joining node: fails after 250 ms. Returns the newest feed row,
    /// which stays the newest.
    pub async fn hold_changes(&mut self) -> Result<FeedPosition, StoreError> {
        let hold = async |conn: &mut AnyConnection| {
            lock::nodes_change_soon(conn).await?;
            feed::newest_position(conn).await
        };
        self.step(hold).await
    }

    /// Removes this session's row. Returns the unsettled deployments where the node was counted.
    /// After [`Tx::hold_nodes`].
    pub async fn leave(&mut self, node: &NodeId, session: Session) -> Result<Vec<DeploymentId>, StoreError> {
        let leave = async |conn: &mut AnyConnection| {
            if leave(conn, node, session).await? { uncount(conn, node).await } else { Ok(Vec::new()) }
        };
        self.change(leave).await
    }

    /// Ends expired leases. Returns each node with the unsettled deployments where it was counted.
    pub async fn end_expired(&mut self) -> Result<Vec<(NodeId, Vec<DeploymentId>)>, StoreError> {
        let now = self.now;
        if !self.step(async |conn| some_expired(conn, now).await).await? {
            return Ok(Vec::new());
        }
        let store = Arc::clone(&self.store);
        let end = async |conn: &mut AnyConnection| {
            lock::nodes_change(conn).await?;
            // Again, under the lock: a node may have renewed.
            let now = store.engine()?.now(conn, store.clock.as_ref()).await?;
            let mut ended = Vec::new();
            for node in remove_expired(conn, now).await? {
                let waited = uncount(conn, &node).await?;
                ended.push((node, waited));
            }
            Ok(ended)
        };
        let ended = self.step(end).await?;
        if !ended.is_empty() {
            self.wake();
        }
        Ok(ended)
    }

    /// Counts all nodes with a lease for a deployment's newest change, unproven. Returns how many.
    pub async fn count_nodes(&mut self, deployment: &DeploymentId) -> Result<u64, StoreError> {
        self.change(async |conn| {
            // Expired or not. Under the lock, a joining node is counted here or counts itself.
            lock::nodes_stay(conn).await?;
            sqlx::query("DELETE FROM node_count WHERE deployment = $1")
                .bind(deployment.as_str())
                .execute(&mut *conn)
                .await?;
            let done =
                sqlx::query("INSERT INTO node_count (deployment, node, proven) SELECT $1, id, 0 FROM node")
                    .bind(deployment.as_str())
                    .execute(conn)
                    .await?;
            Ok(done.rows_affected())
        })
        .await
    }

    /// The nodes counted for a deployment's newest change.
    pub async fn counts(&mut self, deployment: &DeploymentId) -> Result<Vec<RequiredProof>, StoreError> {
        self.step(async |conn| counts(conn, deployment).await).await
    }

    /// Records a counted node's report: it proved (or removed) `generation`, or why not.
    pub async fn record_proof(
        &mut self,
        deployment: &DeploymentId,
        node: &NodeId,
        proof: Result<Generation, String>,
    ) -> Result<(), StoreError> {
        self.change(async |conn| {
            // Reports about older generations are ignored.
            let query = match proof {
                Ok(generation) => sqlx::query(
                    "UPDATE node_count SET proven = $3, reason = NULL
                     WHERE deployment = $1 AND node = $2 AND proven <= $3",
                )
                .bind(deployment.as_str())
                .bind(node.as_str())
                .bind(generation.0),
                Err(reason) => {
                    sqlx::query("UPDATE node_count SET reason = $3 WHERE deployment = $1 AND node = $2")
                        .bind(deployment.as_str())
                        .bind(node.as_str())
                        .bind(row::storable(&reason).into_owned())
                }
            };
            query.execute(conn).await?;
            Ok(())
        })
        .await
    }

    /// The node's session; `None`: not counted.
    pub async fn session(&mut self, node: &NodeId) -> Result<Option<Session>, StoreError> {
        self.step(async |conn| {
            let row = sqlx::query("SELECT session FROM node WHERE id = $1")
                .bind(node.as_str())
                .fetch_optional(conn)
                .await?;
            row.map(|row| row::integer(&row, "session").map(Session)).transpose()
        })
        .await
    }

    /// Replaces the node's session. After [`Tx::hold_nodes`].
    pub async fn set_session(&mut self, node: &NodeId, session: Session) -> Result<(), StoreError> {
        self.step(async |conn| {
            sqlx::query("UPDATE node SET session = $2 WHERE id = $1")
                .bind(node.as_str())
                .bind(session.0)
                .execute(conn)
                .await?;
            Ok(())
        })
        .await
    }

    /// Discards the node's proofs of unsettled deployments. After [`Tx::hold_nodes`].
    pub async fn forget_proofs(&mut self, node: &NodeId) -> Result<(), StoreError> {
        self.step(async |conn| forget_proofs(conn, node).await).await
    }

    /// Discards the node's proof of one deployment.
    pub async fn forget_proof(&mut self, deployment: &DeploymentId, node: &NodeId) -> Result<(), StoreError> {
        self.step(async |conn| {
            sqlx::query("UPDATE node_count SET proven = 0 WHERE deployment = $1 AND node = $2")
                .bind(deployment.as_str())
                .bind(node.as_str())
                .execute(conn)
                .await?;
            Ok(())
        })
        .await
    }

    /// Counts the node from now on, for unsettled deployments too. After [`Tx::hold_changes`].
    pub async fn join(
        &mut self,
        node: &NodeId,
        session: Session,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let now = self.now;
        self.change(async |conn| {
            sqlx::query(
                "INSERT INTO node (id, session, started_at, lease_until) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (id) DO UPDATE SET session = excluded.session, lease_until = excluded.lease_until",
            )
            .bind(node.as_str())
            .bind(session.0)
            .bind(now.0)
            .bind(until.0)
            .execute(&mut *conn)
            .await?;
            forget_proofs(&mut *conn, node).await?;
            sqlx::query(concat!(
                "INSERT INTO node_count (deployment, node, proven) ",
                "SELECT id, $1, 0 FROM deployment WHERE tls_state IN ",
                unsettled!(),
                " ON CONFLICT (deployment, node) DO NOTHING"
            ))
            .bind(node.as_str())
            .execute(conn)
            .await?;
            Ok(())
        })
        .await
    }
}

/// Nodes with a lease, expired or not.
pub(crate) async fn count(conn: &mut AnyConnection) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT count(*) AS nodes FROM node").fetch_one(conn).await?;
    row::count(&row, "nodes")
}

async fn listed(conn: &mut AnyConnection, now: Timestamp) -> Result<Vec<NodeRecord>, StoreError> {
    let rows = sqlx::query(concat!(
        "WITH live AS (SELECT id, started_at AS since, lease_until FROM node), ",
        "heard AS (SELECT node AS id, role, version, started_at, heard_at FROM node_process WHERE heard_at > $1) ",
        "SELECT every.id, since, lease_until, role, version, started_at, heard_at, ",
        "CASE WHEN since IS NULL THEN 0 ELSE (SELECT count(*) ",
        waiting!(),
        " AND c.node = every.id) END AS unproven ",
        "FROM (SELECT id FROM live UNION SELECT id FROM heard) every ",
        "LEFT JOIN live ON live.id = every.id LEFT JOIN heard ON heard.id = every.id ORDER BY every.id"
    ))
    .bind(now.before(node_process::LISTED_FOR).0)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| NodeRecord::read(row, now)).collect()
}

/// One autocommitted statement, so that nothing read earlier can be stale when it takes effect.
async fn renew(
    conn: &mut AnyConnection,
    node: &NodeId,
    session: Session,
    until: Timestamp,
) -> Result<bool, StoreError> {
    let renewed = sqlx::query("UPDATE node SET lease_until = $3 WHERE id = $1 AND session = $2")
        .bind(node.as_str())
        .bind(session.0)
        .bind(until.0)
        .execute(conn)
        .await?;
    Ok(renewed.rows_affected() == 1)
}

/// Under [`lock::nodes_change`].
async fn leave(conn: &mut AnyConnection, node: &NodeId, session: Session) -> Result<bool, StoreError> {
    let left = sqlx::query("DELETE FROM node WHERE id = $1 AND session = $2")
        .bind(node.as_str())
        .bind(session.0)
        .execute(conn)
        .await?;
    Ok(left.rows_affected() == 1)
}

/// Without a lock: mostly none has.
async fn some_expired(conn: &mut AnyConnection, now: Timestamp) -> Result<bool, StoreError> {
    let some = sqlx::query("SELECT id FROM node WHERE lease_until <= $1 LIMIT 1")
        .bind(now.0)
        .fetch_optional(conn)
        .await?;
    Ok(some.is_some())
}

/// Under [`lock::nodes_change`], as must be `now`. The lease is compared again after the row's
/// lock: an earlier renewal is seen.
async fn remove_expired(conn: &mut AnyConnection, now: Timestamp) -> Result<Vec<NodeId>, StoreError> {
    let rows = sqlx::query("DELETE FROM node WHERE lease_until <= $1 RETURNING id")
        .bind(now.0)
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| row::node_id(row, "id")).collect()
}

/// Under [`lock::nodes_change`].
async fn uncount(conn: &mut AnyConnection, node: &NodeId) -> Result<Vec<DeploymentId>, StoreError> {
    // Unsettled ones only: the node may be counted in a million changes. Settled ones need no
    // proof, and the rest is pruned.
    let rows = sqlx::query(concat!(
        "DELETE FROM node_count WHERE node = $1 AND deployment IN (SELECT id FROM deployment WHERE tls_state IN ",
        unsettled!(),
        ") RETURNING deployment"
    ))
    .bind(node.as_str())
    .fetch_all(conn)
    .await?;
    let mut waited: Vec<DeploymentId> =
        rows.iter().map(|row| row::deployment_id(row, "deployment")).collect::<Result<_, _>>()?;
    waited.sort_unstable();
    Ok(waited)
}

async fn counts(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
) -> Result<Vec<RequiredProof>, StoreError> {
    let rows = sqlx::query(
        "SELECT deployment, node, proven, reason FROM node_count WHERE deployment = $1 ORDER BY node",
    )
    .bind(deployment.as_str())
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(RequiredProof {
                deployment: row::deployment_id(row, "deployment")?,
                node: row::node_id(row, "node")?,
                proven: Generation(row::integer(row, "proven")?),
                reason: row::text_or_null(row, "reason")?,
            })
        })
        .collect()
}

/// Under [`lock::nodes_change`].
async fn forget_proofs(conn: &mut AnyConnection, node: &NodeId) -> Result<(), StoreError> {
    sqlx::query(concat!(
        "UPDATE node_count SET proven = 0 WHERE node = $1 AND proven <> 0 AND deployment IN ",
        "(SELECT id FROM deployment WHERE tls_state IN ",
        unsettled!(),
        ")"
    ))
    .bind(node.as_str())
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes counts of removed deployments and nodes, in pages of about `limit` deployments.
/// Returns where to continue.
///
/// Takes the nodes' lock: changes delete rows in any order, so two deletions could deadlock.
pub(crate) async fn prune_counts(
    conn: &mut AnyConnection,
    after: &str,
    limit: u32,
) -> Result<Option<String>, StoreError> {
    let row = sqlx::query(
        "SELECT max(deployment) AS last FROM
         (SELECT deployment FROM node_count WHERE deployment > $1 ORDER BY deployment LIMIT $2) page",
    )
    .bind(after)
    .bind(i64::from(limit))
    .fetch_one(&mut *conn)
    .await?;
    let Some(last) = row::text_or_null(&row, "last")? else { return Ok(None) };
    lock::nodes_change(conn).await?;
    sqlx::query(
        "DELETE FROM node_count WHERE deployment > $1 AND deployment <= $2
         AND (NOT EXISTS (SELECT 1 FROM deployment WHERE deployment.id = node_count.deployment)
              OR NOT EXISTS (SELECT 1 FROM node WHERE node.id = node_count.node))",
    )
    .bind(after)
    .bind(last.as_str())
    .execute(conn)
    .await?;
    Ok(Some(last))
}
