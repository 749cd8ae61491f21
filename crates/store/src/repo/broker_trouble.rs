//! What gateway nodes report of brokers. Rows expire: a node that is gone withdraws nothing.

use std::time::Duration;

use sqlx::{AnyConnection, any::AnyRow};

use crate::{DeploymentId, NodeId, ProjectId, Store, StoreError, Timestamp, engine::row};

/// Nodes repeat a report in a third of it.
pub const TROUBLE_LISTED_FOR: Duration = Duration::from_secs(180);

/// A broker that devices of a deployment cannot use through a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerTrouble {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The listeners that need this broker: `mqtts` or `wss`.
    pub listener: String,
    /// The broker's configured addresses; empty without any.
    pub upstream: String,
    /// A stable name, from docs/brokers.md.
    pub reason: String,
    /// The newest error, in one sentence.
    pub error: String,
    /// The first failure, by the node's clock.
    pub since: Timestamp,
    /// The newest failure.
    pub last_at: Timestamp,
    /// Connections of devices that were ended since, for this reason.
    pub turned_away: u64,
    /// Connections that the broker ended just before and since.
    pub disconnected: u64,
}

/// A trouble and the node that reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedTrouble {
    /// The node.
    pub node: NodeId,
    /// Its report.
    pub trouble: BrokerTrouble,
}

/// A node's changed reports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TroubleReport {
    /// New, changed or repeated.
    pub present: Vec<BrokerTrouble>,
    /// Deployment and listener of what is over.
    pub over: Vec<(DeploymentId, String)>,
}

impl Store {
    /// Writes a node's report in one transaction.
    pub async fn report_broker_troubles(
        &self,
        node: &NodeId,
        report: &TroubleReport,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let now = tx.now();
        tx.step(async |conn| {
            for (deployment, listener) in &report.over {
                remove(conn, node, deployment, listener).await?;
            }
            for trouble in &report.present {
                record(conn, node, trouble, now).await?;
            }
            Ok(())
        })
        .await?;
        tx.commit().await
    }

    /// Of a project's deployments from `first` to `last`, by deployment, listener and node; at most
    /// `limit`.
    pub async fn broker_troubles(
        &self,
        project: &ProjectId,
        first: &DeploymentId,
        last: &DeploymentId,
        limit: u32,
    ) -> Result<Vec<ReportedTrouble>, StoreError> {
        let engine = self.inner.engine()?;
        let listed = async |conn: &mut AnyConnection| {
            let now = engine.now(conn, self.inner.clock.as_ref()).await?;
            let rows = sqlx::query(
                "SELECT t.deployment, t.listener, t.node, t.upstream, t.reason, t.error, t.since, t.last_at,
                     t.turned_away, t.disconnected
                 FROM broker_trouble t JOIN deployment d ON d.id = t.deployment
                 WHERE t.deployment >= $1 AND t.deployment <= $2 AND t.reported_at > $3 AND d.project = $4
                 ORDER BY t.deployment, t.listener, t.node LIMIT $5",
            )
            .bind(first.as_str())
            .bind(last.as_str())
            .bind(now.before(TROUBLE_LISTED_FOR).0)
            .bind(project.as_str())
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await?;
            rows.iter().map(ReportedTrouble::read).collect()
        };
        self.read().run(listed).await
    }

    /// Removes what an earlier process of the node reported.
    pub async fn forget_broker_troubles(&self, node: &NodeId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.step(async |conn| {
            sqlx::query("DELETE FROM broker_trouble WHERE node = $1")
                .bind(node.as_str())
                .execute(conn)
                .await?;
            Ok(())
        })
        .await?;
        tx.commit().await
    }
}

impl ReportedTrouble {
    fn read(row: &AnyRow) -> Result<Self, StoreError> {
        let count = |column| {
            let number = row::integer(row, column)?;
            u64::try_from(number).map_err(|_| row::unreadable(column))
        };
        Ok(Self {
            node: row::node_id(row, "node")?,
            trouble: BrokerTrouble {
                deployment: row::deployment_id(row, "deployment")?,
                listener: row::text(row, "listener")?,
                upstream: row::text(row, "upstream")?,
                reason: row::text(row, "reason")?,
                error: row::text(row, "error")?,
                since: Timestamp(row::integer(row, "since")?),
                last_at: Timestamp(row::integer(row, "last_at")?),
                turned_away: count("turned_away")?,
                disconnected: count("disconnected")?,
            },
        })
    }
}

/// Nothing for a deployment that is gone.
async fn record(
    conn: &mut AnyConnection,
    node: &NodeId,
    trouble: &BrokerTrouble,
    now: Timestamp,
) -> Result<(), StoreError> {
    let count = |number| i64::try_from(number).unwrap_or(i64::MAX);
    sqlx::query(
        "INSERT INTO broker_trouble (deployment, listener, node, upstream, reason, error, since, last_at, turned_away,
             disconnected, reported_at)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 FROM deployment WHERE id = $1
         ON CONFLICT (deployment, listener, node) DO UPDATE SET upstream = excluded.upstream, reason = excluded.reason,
             error = excluded.error, since = excluded.since, last_at = excluded.last_at,
             turned_away = excluded.turned_away, disconnected = excluded.disconnected,
             reported_at = excluded.reported_at",
    )
    .bind(trouble.deployment.as_str())
    .bind(trouble.listener.as_str())
    .bind(node.as_str())
    .bind(trouble.upstream.as_str())
    .bind(trouble.reason.as_str())
    .bind(row::storable(&trouble.error).into_owned())
    .bind(trouble.since.0)
    .bind(trouble.last_at.0)
    .bind(count(trouble.turned_away))
    .bind(count(trouble.disconnected))
    .bind(now.0)
    .execute(conn)
    .await?;
    Ok(())
}

async fn remove(
    conn: &mut AnyConnection,
    node: &NodeId,
    deployment: &DeploymentId,
    listener: &str,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM broker_trouble WHERE deployment = $1 AND listener = $2 AND node = $3")
        .bind(deployment.as_str())
        .bind(listener)
        .bind(node.as_str())
        .execute(conn)
        .await?;
    Ok(())
}

/// With the deployment.
pub(crate) async fn remove_of(conn: &mut AnyConnection, deployment: &DeploymentId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM broker_trouble WHERE deployment = $1")
        .bind(deployment.as_str())
        .execute(conn)
        .await?;
    Ok(())
}

/// Nodes have few rows, and most withdraw them.
pub(crate) async fn prune(conn: &mut AnyConnection, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM broker_trouble WHERE reported_at <= $1")
        .bind(now.before(TROUBLE_LISTED_FOR).0)
        .execute(conn)
        .await?;
    Ok(())
}
