//! How devices' certificates lead to a client CA, each path with an example that can be verified in
//! place of all its devices. An example is kept as long as the device that it belongs to.

use std::collections::{BTreeMap, HashMap, HashSet};

use certward_pki::{IssuerPath, IssuerPathId, fingerprint};
use sqlx::{AnyConnection, any::AnyRow};

use crate::{
    DeploymentId, Reader, StoreError, Timestamp,
    engine::{many_rows, row},
    model::seen_device::DEVICE_KEPT_FOR,
    repo::version::{join, split},
};

/// Paths recorded of one deployment; devices of further ones are recorded without.
pub const ISSUER_PATHS_MAX: usize = 200;
/// Of an example. Larger ones are not recorded: 200 would be 6 MiB.
const EXAMPLE_BYTES_MAX: usize = 32 * 1024;

/// A path that known devices have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPath {
    /// The path.
    pub path: IssuerPath,
    /// Devices whose certificates are valid now, seen within [`DEVICE_KEPT_FOR`].
    pub devices: u64,
}

impl Reader {
    /// The paths of a deployment's devices. A path whose example's device was forgotten is absent
    /// until one of its devices is recorded again: see [`Reader::devices_without_example`].
    pub async fn known_paths(
        &self,
        deployment: &DeploymentId,
        now: Timestamp,
    ) -> Result<Vec<KnownPath>, StoreError> {
        self.run(async |conn| {
            let rows = sqlx::query(
                "SELECT p.path, p.client_ca, p.example, p.example_not_after,
                     (SELECT count(*) FROM device d WHERE d.deployment = p.deployment AND d.path = p.path
                      AND d.last_seen_at > $2 AND d.not_after >= $3 AND d.not_before <= $3) AS devices
                 FROM issuer_path p WHERE p.deployment = $1 ORDER BY p.path",
            )
            .bind(deployment.as_str())
            .bind(now.before(DEVICE_KEPT_FOR).0)
            .bind(now.0)
            .fetch_all(conn)
            .await?;
            rows.iter().map(KnownPath::read).collect()
        })
        .await
    }
}

impl Reader {
    /// Devices as those that [`KnownPath::devices`] counts, of paths that have no example: there
    /// are too many paths, or the example's device was forgotten.
    pub async fn devices_without_example(
        &self,
        deployment: &DeploymentId,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.run(async |conn| {
            let row = sqlx::query(
                "SELECT count(*) AS devices FROM device d
                 WHERE d.deployment = $1 AND d.last_seen_at > $2 AND d.not_after >= $3 AND d.not_before <= $3
                     AND (d.path IS NULL OR d.path NOT IN (SELECT path FROM issuer_path WHERE deployment = $1))",
            )
            .bind(deployment.as_str())
            .bind(now.before(DEVICE_KEPT_FOR).0)
            .bind(now.0)
            .fetch_one(conn)
            .await?;
            row::count(&row, "devices")
        })
        .await
    }
}

impl KnownPath {
    fn read(row: &AnyRow) -> Result<Self, StoreError> {
        let id = row::bytes(row, "path")?.try_into().map_err(|_| row::unreadable("path"))?;
        let path = IssuerPath {
            id: IssuerPathId(id),
            example: split(&row::bytes(row, "example")?).ok_or_else(|| row::unreadable("example"))?,
            example_not_after: Timestamp(row::integer(row, "example_not_after")?).to_time(),
            client_ca: row::text(row, "client_ca")?.into(),
        };
        Ok(Self { path, devices: row::count(row, "devices")? })
    }
}

/// Those of `paths` that are recorded. The example of the latest notAfter is kept. If there is no
/// room, paths that no device has any more go: a device has one at a time, whatever it sent.
pub(crate) async fn record(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    paths: &BTreeMap<IssuerPathId, &IssuerPath>,
) -> Result<HashSet<IssuerPathId>, StoreError> {
    let mut known = not_afters(conn, deployment).await?;
    let new = paths.keys().filter(|id| !known.contains_key(id)).count();
    if known.len() + new > ISSUER_PATHS_MAX {
        remove_without_devices(conn, deployment, &HashSet::new()).await?;
        known = not_afters(conn, deployment).await?;
    }
    let mut room = ISSUER_PATHS_MAX.saturating_sub(known.len());
    let (mut recorded, mut written) = (HashSet::new(), Vec::new());
    for (id, path) in paths {
        let example = join(&path.example);
        let fits = example.len() <= EXAMPLE_BYTES_MAX && !path.example.is_empty();
        let is_newer = match known.get(id) {
            Some(not_after) => {
                recorded.insert(*id);
                Timestamp::from_time(path.example_not_after) > *not_after
            }
            None if fits && room > 0 => {
                room -= 1;
                recorded.insert(*id)
            }
            None => false,
        };
        if fits && is_newer {
            written.push((*path, example));
        }
    }
    let insert = "INSERT INTO issuer_path (deployment, path, client_ca, example, example_fingerprint, example_not_after)";
    let update = "ON CONFLICT (deployment, path) DO UPDATE SET example = excluded.example,
        example_fingerprint = excluded.example_fingerprint, example_not_after = excluded.example_not_after";
    many_rows::insert(conn, (insert, update), 6, &written, |query, (path, example)| {
        query
            .bind(deployment.to_string())
            .bind(path.id.0.to_vec())
            .bind(path.client_ca.to_string())
            .bind(example.clone())
            .bind(path.example.first().map(|leaf| fingerprint(leaf)).unwrap_or_default())
            .bind(Timestamp::from_time(path.example_not_after).0)
    })
    .await?;
    Ok(recorded)
}

/// Of the examples.
async fn not_afters(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
) -> Result<HashMap<IssuerPathId, Timestamp>, StoreError> {
    let rows = sqlx::query("SELECT path, example_not_after FROM issuer_path WHERE deployment = $1")
        .bind(deployment.as_str())
        .fetch_all(conn)
        .await?;
    let read = |row| {
        let id = row::bytes(row, "path")?.try_into().map_err(|_| row::unreadable("path"))?;
        Ok((IssuerPathId(id), Timestamp(row::integer(row, "example_not_after")?)))
    };
    rows.iter().map(read).collect()
}

/// After devices with these certificates were removed: their examples, and paths without devices.
pub(crate) async fn remove_without_devices(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    fingerprints: &HashSet<String>,
) -> Result<(), StoreError> {
    let rows = sqlx::query(
        "SELECT path, example_fingerprint, (SELECT count(*) FROM (SELECT 1 FROM device d
             WHERE d.deployment = p.deployment AND d.path = p.path LIMIT 1) one) AS devices
         FROM issuer_path p WHERE deployment = $1",
    )
    .bind(deployment.as_str())
    .fetch_all(&mut *conn)
    .await?;
    for row in &rows {
        let is_removed = fingerprints.contains(&row::text(row, "example_fingerprint")?);
        if is_removed || row::integer(row, "devices")? == 0 {
            sqlx::query("DELETE FROM issuer_path WHERE deployment = $1 AND path = $2")
                .bind(deployment.as_str())
                .bind(row::bytes(row, "path")?)
                .execute(&mut *conn)
                .await?;
        }
    }
    Ok(())
}
