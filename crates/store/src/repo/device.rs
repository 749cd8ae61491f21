//! Devices with a client certificate whose broker answered them. Names and addresses are personal
//! data: they are in no log.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::IpAddr,
};

use certward_pki::{DeviceId, IssuerPathId, shown_device_name};
use sqlx::{AnyConnection, AssertSqlSafe, any::AnyRow};

use crate::{
    DeploymentId, DeviceSighting, Reader, RevokedWhat, SeenDevice, StoreError, Timestamp, Tx,
    engine::{
        lock,
        many_rows::{self, places},
        row,
    },
    model::seen_device::{DEVICE_ADDRESS_KEPT_FOR, DEVICE_KEPT_FOR},
    repo::{device_total, issuer_path},
};

/// Each has up to two parameters.
const LOOKED_UP_AT_ONCE: usize = 500;

macro_rules! columns {
    () => {
        "deployment, id, name, issuer, serial, fingerprint, path, client_ca, not_before, not_after, first_seen_at, last_seen_at, host, tls_version, address"
    };
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT ", columns!(), " FROM device WHERE deployment = $1 ", $rest)
    };
}

/// What [`SeenDevice::read`] reads.
pub(crate) const DEVICE_COLUMNS: &str = columns!();

impl Reader {
    /// Devices of a deployment by id, after `after`; at most `limit`.
    pub async fn devices(
        &self,
        deployment: &DeploymentId,
        after: Option<DeviceId>,
        limit: u32,
    ) -> Result<Vec<SeenDevice>, StoreError> {
        self.run(async |conn| {
            let rows = sqlx::query(select!("AND id > $2 ORDER BY id LIMIT $3"))
                .bind(deployment.as_str())
                // Sorts before every id.
                .bind(after.map_or(Vec::new(), |id| id.0.to_vec()))
                .bind(i64::from(limit))
                .fetch_all(conn)
                .await?;
            rows.iter().map(SeenDevice::read).collect()
        })
        .await
    }

    /// Devices of a path whose certificates are valid at `now`, seen within [`DEVICE_KEPT_FOR`];
    /// lately seen first; at most `limit`.
    pub async fn devices_of_path(
        &self,
        deployment: &DeploymentId,
        path: IssuerPathId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<SeenDevice>, StoreError> {
        self.run(async |conn| {
            let rows = sqlx::query(select!(
                "AND path = $2 AND last_seen_at > $3 AND not_after >= $4 AND not_before <= $4
                 ORDER BY last_seen_at DESC, id LIMIT $5"
            ))
            .bind(deployment.as_str())
            .bind(path.0.to_vec())
            .bind(now.before(DEVICE_KEPT_FOR).0)
            .bind(now.0)
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await?;
            rows.iter().map(SeenDevice::read).collect()
        })
        .await
    }

    /// Devices of a deployment whose certificates have these fingerprints.
    pub async fn devices_with(
        &self,
        deployment: &DeploymentId,
        fingerprints: &[String],
    ) -> Result<Vec<SeenDevice>, StoreError> {
        self.run(async |conn| {
            let mut found = Vec::new();
            for fingerprints in fingerprints.chunks(LOOKED_UP_AT_ONCE) {
                let listed = places(2, fingerprints.len());
                let sql = format!(select!("AND fingerprint IN ({})"), listed);
                // Safe: constants and numbers, here and below.
                let query = sqlx::query(AssertSqlSafe(sql)).persistent(false).bind(deployment.as_str());
                let query = fingerprints.iter().fold(query, |query, it| query.bind(it.as_str()));
                for row in &query.fetch_all(&mut *conn).await? {
                    found.push(SeenDevice::read(row)?);
                }
            }
            Ok(found)
        })
        .await
    }

    /// Devices of a deployment that these revocations refuse, each once, by id; at most `limit`.
    pub async fn devices_refused_by(
        &self,
        deployment: &DeploymentId,
        revoked: &[RevokedWhat],
        limit: u32,
    ) -> Result<Vec<DeviceId>, StoreError> {
        self.run(async |conn| {
            let mut found = BTreeSet::new();
            for revoked in revoked.chunks(LOOKED_UP_AT_ONCE) {
                found.extend(refused_by(conn, deployment, revoked, limit).await?);
            }
            Ok(found.into_iter().take(limit as usize).collect())
        })
        .await
    }
}

impl Tx {
    /// Forgets a device; `false` if it is not known.
    pub async fn forget_device(
        &mut self,
        deployment: &DeploymentId,
        device: DeviceId,
    ) -> Result<bool, StoreError> {
        self.step(async |conn| {
            if device_total::lock(conn, &BTreeSet::from([deployment])).await?.is_empty() {
                return Ok(false);
            }
            let removed = remove(conn, deployment, &[device], Timestamp(i64::MAX)).await?;
            Ok(removed > 0)
        })
        .await
    }
}

impl SeenDevice {
    pub(crate) fn read(row: &AnyRow) -> Result<Self, StoreError> {
        let id = |column, bytes: Vec<u8>| <[u8; 16]>::try_from(bytes).map_err(|_| row::unreadable(column));
        let address = |text: String| text.parse::<IpAddr>().map_err(|_| row::unreadable("address"));
        Ok(Self {
            deployment: row::deployment_id(row, "deployment")?,
            id: DeviceId(id("id", row::bytes(row, "id")?)?),
            name: row::text(row, "name")?,
            issuer: row::text(row, "issuer")?,
            serial: row::text(row, "serial")?,
            fingerprint: row::text(row, "fingerprint")?,
            path: row::bytes_or_null(row, "path")?
                .map(|bytes| id("path", bytes))
                .transpose()?
                .map(IssuerPathId),
            client_ca: row::text(row, "client_ca")?,
            not_before: Timestamp(row::integer(row, "not_before")?),
            not_after: Timestamp(row::integer(row, "not_after")?),
            first_seen_at: Timestamp(row::integer(row, "first_seen_at")?),
            last_seen_at: Timestamp(row::integer(row, "last_seen_at")?),
            host: row::text_or_null(row, "host")?,
            tls_version: row::text(row, "tls_version")?,
            address: row::text_or_null(row, "address")?.map(address).transpose()?,
        })
    }
}

/// By id; at most `limit`.
async fn refused_by(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    revoked: &[RevokedWhat],
    limit: u32,
) -> Result<Vec<DeviceId>, StoreError> {
    let (mut ids, mut texts) = (Vec::new(), [const { Vec::new() }; 3]);
    let [serials, names, names_by] = &mut texts;
    for what in revoked {
        match what {
            RevokedWhat::Certificate { device, .. } => ids.push(device.0.to_vec()),
            RevokedWhat::Serial { issuer, serial } => serials.extend([issuer.clone(), serial.clone()]),
            RevokedWhat::Name { name, issuer: None } => names.push(shown_device_name(name).into_string()),
            RevokedWhat::Name { name, issuer: Some(issuer) } => {
                names_by.extend([shown_device_name(name).into_string(), issuer.clone()]);
            }
        }
    }
    let mut conditions = Vec::new();
    let mut next = 3;
    let mut add = |columns: &str, count: usize, width: usize| {
        if count > 0 {
            let tuples: Vec<_> =
                (0..count).map(|at| format!("({})", places(next + at * width, width))).collect();
            next += count * width;
            conditions.push(format!("{columns} IN (VALUES {})", tuples.join(", ")));
        }
    };
    add("id", ids.len(), 1);
    add("(issuer, serial)", serials.len() / 2, 2);
    add("name", names.len(), 1);
    add("(name, issuer)", names_by.len() / 2, 2);
    if conditions.is_empty() {
        return Ok(Vec::new());
    }
    let conditions = conditions.join(" OR ");
    let sql = format!("SELECT id FROM device WHERE deployment = $1 AND ({conditions}) ORDER BY id LIMIT $2");
    let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    let query = query.bind(deployment.as_str()).bind(i64::from(limit));
    let query = ids.into_iter().fold(query, |query, id| query.bind(id));
    let query = texts.into_iter().flatten().fold(query, |query, text| query.bind(text));
    let rows = query.fetch_all(conn).await?;
    rows.iter().map(|row| row::sixteen(row, "id").map(DeviceId)).collect()
}

/// What [`record`] did.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct RecordedDevices {
    /// Not known before.
    pub(crate) new: u64,
    /// Not recorded, or without their path.
    pub(crate) over: u64,
}

/// Of a locked deployment ([`device_total::lock`]): known devices, and up to `room` others.
pub(crate) async fn record(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    devices: &[&DeviceSighting],
    room: u64,
) -> Result<RecordedDevices, StoreError> {
    let mut recorded = RecordedDevices::default();
    let known = known(conn, deployment, devices).await?;
    let mut written = Vec::with_capacity(devices.len());
    for sighting in devices {
        if known.contains(&sighting.device.id) {
            written.push(*sighting);
        } else if recorded.new < room {
            recorded.new += 1;
            written.push(*sighting);
        } else {
            recorded.over += 1;
        }
    }
    if written.is_empty() {
        return Ok(recorded);
    }
    let paths = written.iter().map(|sighting| (sighting.device.path.id, &*sighting.device.path)).collect();
    let paths = issuer_path::record(conn, deployment, &paths).await?;
    recorded.over +=
        written.iter().filter(|sighting| !paths.contains(&sighting.device.path.id)).count() as u64;
    write(conn, deployment, &written, &paths).await?;
    Ok(recorded)
}

/// Which of them are known.
async fn known(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    devices: &[&DeviceSighting],
) -> Result<HashSet<DeviceId>, StoreError> {
    if devices.is_empty() {
        return Ok(HashSet::new());
    }
    let listed = places(2, devices.len());
    let sql = format!("SELECT id FROM device WHERE deployment = $1 AND id IN ({listed})");
    // Safe: numbers.
    let query = sqlx::query(AssertSqlSafe(sql)).persistent(false).bind(deployment.as_str());
    let query = devices.iter().fold(query, |query, sighting| query.bind(sighting.device.id.0.to_vec()));
    let rows = query.fetch_all(conn).await?;
    let read = |row| {
        let bytes = row::bytes(row, "id")?;
        Ok(DeviceId(bytes.try_into().map_err(|_| row::unreadable("id"))?))
    };
    rows.iter().map(read).collect()
}

async fn write(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    devices: &[&DeviceSighting],
    paths: &HashSet<IssuerPathId>,
) -> Result<(), StoreError> {
    let insert =
        "INSERT INTO device (deployment, id, name, issuer, serial, fingerprint, path, client_ca, not_before,
        not_after, first_seen_at, last_seen_at, host, tls_version, address)";
    let update =
        "ON CONFLICT (deployment, id) DO UPDATE SET name = excluded.name, fingerprint = excluded.fingerprint,
        path = excluded.path, client_ca = excluded.client_ca, not_before = excluded.not_before,
        not_after = excluded.not_after, last_seen_at = excluded.last_seen_at, host = excluded.host,
        tls_version = excluded.tls_version, address = excluded.address
        WHERE excluded.last_seen_at > device.last_seen_at";
    many_rows::insert(conn, (insert, update), 15, devices, |query, sighting| {
        let device = &sighting.device;
        query
            .bind(deployment.to_string())
            .bind(device.id.0.to_vec())
            .bind(row::storable(&device.name).into_owned())
            .bind(row::storable(&device.issuer).into_owned())
            .bind(device.serial.to_string())
            .bind(device.fingerprint.to_string())
            .bind(paths.contains(&device.path.id).then(|| device.path.id.0.to_vec()))
            .bind(device.path.client_ca.to_string())
            .bind(Timestamp::from_time(device.not_before).0)
            .bind(Timestamp::from_time(device.not_after).0)
            .bind(sighting.at.0)
            .bind(sighting.at.0)
            .bind(sighting.host.as_deref().map(str::to_owned))
            .bind(sighting.tls_version)
            .bind(sighting.address.to_string())
    })
    .await
}

/// Devices not seen after `until`, of a locked deployment. Returns how many were removed.
async fn remove(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    devices: &[DeviceId],
    until: Timestamp,
) -> Result<usize, StoreError> {
    let listed = places(3, devices.len());
    let sql = format!(
        "DELETE FROM device WHERE deployment = $1 AND last_seen_at <= $2 AND id IN ({listed}) RETURNING fingerprint"
    );
    // Safe: numbers.
    let query = sqlx::query(AssertSqlSafe(sql)).persistent(false).bind(deployment.as_str()).bind(until.0);
    let query = devices.iter().fold(query, |query, id| query.bind(id.0.to_vec()));
    let rows = query.fetch_all(&mut *conn).await?;
    let fingerprints =
        rows.iter().map(|row| row::text(row, "fingerprint")).collect::<Result<HashSet<_>, _>>()?;
    if !rows.is_empty() {
        issuer_path::remove_without_devices(conn, deployment, &fingerprints).await?;
        device_total::recount(conn, deployment).await?;
    }
    Ok(rows.len())
}

/// Whether more may remain.
pub(crate) async fn prune(conn: &mut AnyConnection, now: Timestamp, limit: u32) -> Result<bool, StoreError> {
    let until = now.before(DEVICE_KEPT_FOR);
    let rows = sqlx::query(
        "SELECT deployment, id FROM device WHERE last_seen_at <= $1 ORDER BY last_seen_at LIMIT $2",
    )
    .bind(until.0)
    .bind(i64::from(limit))
    .fetch_all(&mut *conn)
    .await?;
    let mut old: BTreeMap<DeploymentId, Vec<DeviceId>> = BTreeMap::new();
    for row in &rows {
        let id = row::bytes(row, "id")?.try_into().map_err(|_| row::unreadable("id"))?;
        old.entry(row::deployment_id(row, "deployment")?).or_default().push(DeviceId(id));
    }
    for total in device_total::lock(conn, &old.keys().collect()).await? {
        if let Some(devices) = old.get(&total.deployment) {
            remove(conn, &total.deployment, devices, until).await?;
        }
    }
    Ok(rows.len() >= limit as usize)
}

/// Whether more may remain.
pub(crate) async fn prune_addresses(
    conn: &mut AnyConnection,
    now: Timestamp,
    limit: u32,
) -> Result<bool, StoreError> {
    // A batch that waits for some of these rows may hold others.
    let lock = if lock::is_postgres(conn) { " FOR UPDATE SKIP LOCKED" } else { "" };
    let sql = format!(
        "UPDATE device SET address = NULL WHERE (deployment, id) IN (SELECT deployment, id FROM device
         WHERE address IS NOT NULL AND last_seen_at <= $1 ORDER BY last_seen_at LIMIT $2{lock})"
    );
    // Safe: constants.
    let done = sqlx::query(AssertSqlSafe(sql))
        .bind(now.before(DEVICE_ADDRESS_KEPT_FOR).0)
        .bind(i64::from(limit))
        .execute(conn)
        .await?;
    Ok(done.rows_affected() >= u64::from(limit))
}
