//! How many devices of a deployment are known. Its row is locked before its devices' rows change,
//! so that the bounds hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sqlx::{AnyConnection, AssertSqlSafe};

use crate::{
    DeploymentId, Generation, Reader, StoreError, Timestamp,
    engine::{
        lock,
        many_rows::{self, places},
        row,
    },
};

/// Devices recorded of one deployment.
pub const DEVICES_MAX: u64 = 100_000;
/// Devices recorded of all deployments, beside [`DEVICES_MIN`] of each. Nodes that record at the
/// same moment may exceed it by their batches.
pub const DEVICES_IN_ALL_MAX: u64 = 1_000_000;
/// Devices of one deployment that have room whatever the others have.
pub const DEVICES_MIN: u64 = 1_000;
/// [`DeviceTotal::over`] is 0 again after such a time without.
const OVER_KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How many devices of a deployment are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeviceTotal {
    /// Those recorded.
    pub known: u64,
    /// Sightings of devices, hosts and offers that were not recorded for lack of room (a device is
    /// sighted once an hour at most); 0 again after a day without.
    pub over: u64,
}

impl Reader {
    /// How many devices of a deployment are known.
    pub async fn device_total(&self, deployment: &DeploymentId) -> Result<DeviceTotal, StoreError> {
        self.run(async |conn| {
            let row = sqlx::query("SELECT known, unrecorded FROM device_total WHERE deployment = $1")
                .bind(deployment.as_str())
                .fetch_optional(conn)
                .await?;
            let Some(row) = row else { return Ok(DeviceTotal::default()) };
            Ok(DeviceTotal { known: row::count(&row, "known")?, over: row::count(&row, "unrecorded")? })
        })
        .await
    }
}

/// A deployment whose devices this transaction may change.
pub(crate) struct LockedTotal {
    pub(crate) deployment: DeploymentId,
    pub(crate) born: Generation,
    pub(crate) known: u64,
}

impl LockedTotal {
    /// For devices that are not known, while `in_all` of all deployments are.
    pub(crate) fn room(&self, in_all: u64) -> u64 {
        let own = DEVICES_MAX.saturating_sub(self.known);
        let shared = DEVICES_IN_ALL_MAX.saturating_sub(in_all);
        own.min(shared.max(DEVICES_MIN.saturating_sub(self.known)))
    }
}

/// Those of `deployments` that exist, in order; they stay until the transaction ends.
pub(crate) async fn lock(
    conn: &mut AnyConnection,
    deployments: &BTreeSet<&DeploymentId>,
) -> Result<Vec<LockedTotal>, StoreError> {
    if deployments.is_empty() {
        return Ok(Vec::new());
    }
    let (key_share, update) = match lock::is_postgres(conn) {
        true => (" FOR KEY SHARE", " FOR UPDATE"),
        false => ("", ""),
    };
    let listed = places(1, deployments.len());
    let sql = format!("SELECT id, born FROM deployment WHERE id IN ({listed}) ORDER BY id{key_share}");
    // Safe: numbers and constants, here and below.
    let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    let query = deployments.iter().fold(query, |query, id| query.bind(id.as_str()));
    let there = query.fetch_all(&mut *conn).await?;
    let read = |row| Ok((row::deployment_id(row, "id")?, Generation(row::integer(row, "born")?)));
    let born = there.iter().map(read).collect::<Result<BTreeMap<_, _>, StoreError>>()?;
    if born.is_empty() {
        return Ok(Vec::new());
    }
    let there: Vec<_> = born.keys().collect();
    let insert = "INSERT INTO device_total (deployment, known, unrecorded, unrecorded_at)";
    many_rows::insert(conn, (insert, "ON CONFLICT DO NOTHING"), 4, &there, |query, id| {
        query.bind(id.to_string()).bind(0_i64).bind(0_i64).bind(0_i64)
    })
    .await?;
    let listed = places(1, there.len());
    let sql = format!(
        "SELECT deployment, known FROM device_total WHERE deployment IN ({listed}) ORDER BY deployment{update}"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    let query = there.iter().fold(query, |query, id| query.bind(id.as_str()));
    let read = |row| {
        let deployment = row::deployment_id(row, "deployment")?;
        let born = born.get(&deployment).copied().unwrap_or_default();
        Ok(LockedTotal { deployment, born, known: row::count(row, "known")? })
    };
    query.fetch_all(conn).await?.iter().map(read).collect()
}

/// Devices recorded of all deployments.
pub(crate) async fn in_all(conn: &mut AnyConnection) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT CAST(coalesce(sum(known), 0) AS BIGINT) AS known FROM device_total")
        .fetch_one(conn)
        .await?;
    row::count(&row, "known")
}

/// For a locked one.
pub(crate) async fn add(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    known: u64,
    over: u64,
    now: Timestamp,
) -> Result<(), StoreError> {
    if known > 0 {
        sqlx::query("UPDATE device_total SET known = known + $2 WHERE deployment = $1")
            .bind(deployment.as_str())
            .bind(row::bound(known))
            .execute(&mut *conn)
            .await?;
    }
    if over > 0 {
        sqlx::query(
            "UPDATE device_total SET unrecorded = unrecorded + $2, unrecorded_at = $3 WHERE deployment = $1",
        )
        .bind(deployment.as_str())
        .bind(row::bound(over))
        .bind(now.0)
        .execute(conn)
        .await?;
    }
    Ok(())
}

/// After devices of a locked one were removed.
pub(crate) async fn recount(conn: &mut AnyConnection, deployment: &DeploymentId) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE device_total SET known = (SELECT count(*) FROM device WHERE deployment = $1) WHERE deployment = $1",
    )
    .bind(deployment.as_str())
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn prune(conn: &mut AnyConnection, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("UPDATE device_total SET unrecorded = 0 WHERE unrecorded > 0 AND unrecorded_at <= $1")
        .bind(now.before(OVER_KEPT_FOR).0)
        .execute(conn)
        .await?;
    Ok(())
}
