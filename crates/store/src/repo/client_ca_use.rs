//! Which client CAs admit the devices of a deployment: sums, and those that one CA admits.

use std::collections::{BTreeMap, BTreeSet};

use certward_pki::{DeviceId, IssuerPathId};
use sqlx::{AssertSqlSafe, any::AnyRow};

use crate::{
    DeploymentId, Reader, SeenDevice, StoreError, Timestamp,
    engine::{many_rows::places, row},
    model::seen_device::DEVICE_KEPT_FOR,
    repo::device::DEVICE_COLUMNS,
};

/// Devices that came by one path, or whose path is not known, through one client CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathUse {
    /// Their path.
    pub path: Option<IssuerPathId>,
    /// The fingerprint of the client CA that was recorded: the last one that admitted them.
    pub client_ca: String,
    /// How many were seen within each span, as asked for.
    pub seen: Vec<u64>,
    /// When one of them was last seen.
    pub last_seen_at: Timestamp,
}

/// Devices that a removal of a client CA may refuse.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NeedyPaths {
    /// By their paths.
    pub paths: BTreeSet<IssuerPathId>,
    /// Of those whose path has no example: by the fingerprints of the client CAs that admitted
    /// them.
    pub client_cas: BTreeSet<String>,
}

/// Devices of one name, by their path and client CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameUse {
    /// As in [`SeenDevice`].
    pub name: String,
    /// Their path.
    pub path: Option<IssuerPathId>,
    /// The fingerprint of the client CA that was recorded.
    pub client_ca: String,
    /// How many certificates.
    pub certificates: u64,
    /// When the one that was not seen for longest was last seen.
    pub first: Timestamp,
    /// When one of them was last seen.
    pub last: Timestamp,
}

impl Reader {
    /// Devices by path and recorded client CA; `since`: from when they count as seen.
    pub async fn path_uses(
        &self,
        deployment: &DeploymentId,
        since: &[Timestamp],
        now: Timestamp,
    ) -> Result<Vec<PathUse>, StoreError> {
        self.run(async |conn| {
            let sums: String = (0..since.len())
                .map(|n| format!(", sum(CASE WHEN last_seen_at > ${} THEN 1 ELSE 0 END) AS seen{n}", n + 3))
                .collect();
            let sql = format!(
                "SELECT path, client_ca, max(last_seen_at) AS last_seen_at{sums} FROM device
                 WHERE deployment = $1 AND last_seen_at > $2 GROUP BY path, client_ca"
            );
            // Safe: numbers.
            let query = sqlx::query(AssertSqlSafe(sql)).bind(deployment.as_str());
            let query = query.bind(now.before(DEVICE_KEPT_FOR).0);
            let query = since.iter().fold(query, |query, since| query.bind(since.0));
            let rows = query.fetch_all(conn).await?;
            rows.iter().map(|row| PathUse::read(row, since.len())).collect()
        })
        .await
    }

    /// Devices with certificates that are valid at `now`, seen within [`DEVICE_KEPT_FOR`], by id
    /// after `after`; at most `limit`.
    pub async fn devices_in_need(
        &self,
        deployment: &DeploymentId,
        NeedyPaths { paths, client_cas }: &NeedyPaths,
        (now, after): (Timestamp, Option<DeviceId>),
        limit: u32,
    ) -> Result<Vec<SeenDevice>, StoreError> {
        self.run(async |conn| {
            let mut alternatives = Vec::new();
            if !paths.is_empty() {
                alternatives.push(format!("path IN ({})", places(6, paths.len())));
            }
            if !client_cas.is_empty() {
                alternatives.push(format!(
                    "client_ca IN ({}) AND (path IS NULL OR path NOT IN
                     (SELECT path FROM issuer_path WHERE deployment = $1))",
                    places(6 + paths.len(), client_cas.len())
                ));
            }
            if alternatives.is_empty() {
                return Ok(Vec::new());
            }
            let sql = format!(
                "SELECT {DEVICE_COLUMNS} FROM device WHERE deployment = $1 AND id > $2 AND last_seen_at > $3
                     AND not_after >= $4 AND not_before <= $4 AND ({}) ORDER BY id LIMIT $5",
                alternatives.join(" OR ")
            );
            // Safe: numbers and constants.
            let query = sqlx::query(AssertSqlSafe(sql)).persistent(false).bind(deployment.as_str());
            // Sorts before every id.
            let query = query.bind(after.map_or(Vec::new(), |id| id.0.to_vec()));
            let query = query.bind(now.before(DEVICE_KEPT_FOR).0).bind(now.0).bind(i64::from(limit));
            let query = paths.iter().fold(query, |query, path| query.bind(path.0.to_vec()));
            let query = client_cas.iter().fold(query, |query, ca| query.bind(ca.clone()));
            query.fetch_all(conn).await?.iter().map(SeenDevice::read).collect()
        })
        .await
    }

    /// Devices of these names with certificates that are valid at `now`, seen within
    /// [`DEVICE_KEPT_FOR`].
    pub async fn name_uses(
        &self,
        deployment: &DeploymentId,
        names: &BTreeSet<&str>,
        now: Timestamp,
    ) -> Result<BTreeMap<String, Vec<NameUse>>, StoreError> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        self.run(async |conn| {
            let sql = format!(
                "SELECT name, path, client_ca, count(*) AS certificates, min(last_seen_at) AS first_at,
                     max(last_seen_at) AS last_at FROM device
                 WHERE deployment = $1 AND last_seen_at > $2 AND not_after >= $3 AND not_before <= $3
                     AND name IN ({}) GROUP BY name, path, client_ca",
                places(4, names.len())
            );
            // Safe: numbers.
            let query = sqlx::query(AssertSqlSafe(sql)).persistent(false).bind(deployment.as_str());
            let query = query.bind(now.before(DEVICE_KEPT_FOR).0).bind(now.0);
            let query = names.iter().fold(query, |query, name| query.bind((*name).to_owned()));
            let mut uses = BTreeMap::<String, Vec<NameUse>>::new();
            for row in &query.fetch_all(conn).await? {
                let of_name = NameUse::read(row)?;
                uses.entry(of_name.name.clone()).or_default().push(of_name);
            }
            Ok(uses)
        })
        .await
    }

    /// Deployments, by id after `after`, with a path of which no device was seen after `since`,
    /// while one was of another path; at most `limit`.
    pub async fn deployments_with_idle_paths(
        &self,
        since: Timestamp,
        after: Option<&DeploymentId>,
        limit: u32,
    ) -> Result<Vec<DeploymentId>, StoreError> {
        self.run(async |conn| {
            let rows = sqlx::query(
                "SELECT DISTINCT p.deployment FROM issuer_path p WHERE p.deployment > $1
                     AND NOT EXISTS (SELECT 1 FROM device d WHERE d.deployment = p.deployment AND d.path = p.path
                         AND d.last_seen_at > $2)
                     AND EXISTS (SELECT 1 FROM device d WHERE d.deployment = p.deployment AND d.last_seen_at > $2)
                 ORDER BY p.deployment LIMIT $3",
            )
            .bind(after.map_or("", |id| id.as_str()))
            .bind(since.0)
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await?;
            rows.iter().map(|row| row::deployment_id(row, "deployment")).collect()
        })
        .await
    }
}

impl PathUse {
    fn read(row: &AnyRow, spans: usize) -> Result<Self, StoreError> {
        Ok(Self {
            path: path(row)?,
            client_ca: row::text(row, "client_ca")?,
            seen: (0..spans).map(|n| row::count(row, &format!("seen{n}"))).collect::<Result<_, _>>()?,
            last_seen_at: Timestamp(row::integer(row, "last_seen_at")?),
        })
    }
}

impl NameUse {
    fn read(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            name: row::text(row, "name")?,
            path: path(row)?,
            client_ca: row::text(row, "client_ca")?,
            certificates: row::count(row, "certificates")?,
            first: Timestamp(row::integer(row, "first_at")?),
            last: Timestamp(row::integer(row, "last_at")?),
        })
    }
}

fn path(row: &AnyRow) -> Result<Option<IssuerPathId>, StoreError> {
    let bytes = row::bytes_or_null(row, "path")?;
    let id = |bytes: Vec<u8>| bytes.try_into().map(IssuerPathId).map_err(|_| row::unreadable("path"));
    bytes.map(id).transpose()
}
