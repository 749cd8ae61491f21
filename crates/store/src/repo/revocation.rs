//! Deny-lists. A change of one changes the deployment's mark in the same transaction; so a reader
//! that knows the list of an earlier mark reads what is new, and the mark says whether that is all.

use certward_pki::{DenyKey, DeviceId};
use sqlx::{AnyConnection, AssertSqlSafe, any::AnyRow};

use crate::{
    ApiKey, Deployment, DeploymentId, Generation, Reader, Revocation, RevocationId, RevocationMark,
    RevokedWhat, StoreError, Timestamp, Tx,
    engine::{
        many_rows::{self, places},
        page_cache, row,
    },
    model::revocation::{REVOCATIONS_IN_ALL_MAX, REVOCATIONS_MAX},
    repo::{crl, deployment},
};

/// A row of the driver is large.
const READ_AT_ONCE: i64 = 5_000;

const COLUMNS: &str =
    "id, generation, kind, device, fingerprint, issuer, serial, name, reason, revoked_by, revoked_at
    FROM revocation WHERE deployment = $1";

/// What a reader knows of a deployment's deny-list: given by one reading for the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KnownRevocations {
    /// Of the revocations alone.
    listed: RevocationMark,
    /// Nothing known is newer.
    newest: Generation,
}

/// How a deny-list differs from what was known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevocationChange {
    /// These are new; all others stay.
    Added(Vec<DenyKey>),
    /// It has these and no others.
    All(Vec<DenyKey>),
}

/// How long a deny-list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevocationTotal {
    /// Its entries.
    pub listed: u64,
    /// Further ones that it may have.
    pub room: u64,
}

impl Reader {
    /// A deployment's revocations, newest first, after the one of this generation and id; at most
    /// `limit`.
    pub async fn revocations(
        &self,
        deployment: &DeploymentId,
        after: Option<(Generation, RevocationId)>,
        limit: u32,
    ) -> Result<Vec<Revocation>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} AND (generation, id) < ($2, $3) ORDER BY generation DESC, id DESC LIMIT $4"
        );
        let (generation, id) = after.unwrap_or((Generation(i64::MAX), RevocationId([0; 16])));
        self.run(async |conn| {
            // Safe: constants, here and below.
            let rows = sqlx::query(AssertSqlSafe(sql))
                .bind(deployment.as_str())
                .bind(generation.0)
                .bind(id.0.to_vec())
                .bind(i64::from(limit))
                .fetch_all(conn)
                .await?;
            rows.iter().map(read).collect()
        })
        .await
    }

    /// One of a deployment's revocations.
    pub async fn revocation(
        &self,
        deployment: &DeploymentId,
        id: RevocationId,
    ) -> Result<Option<Revocation>, StoreError> {
        let sql = format!("SELECT {COLUMNS} AND id = $2");
        self.run(async |conn| {
            let query = sqlx::query(AssertSqlSafe(sql)).bind(deployment.as_str()).bind(id.0.to_vec());
            query.fetch_optional(conn).await?.as_ref().map(read).transpose()
        })
        .await
    }

    /// How a deployment's deny-list differs from `known`, and what is known from now on. The
    /// deployment must be of the same snapshot.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] too if the rows are not those that the deployment's mark stands for.
    pub async fn revocations_since(
        &self,
        deployment: &Deployment,
        known: Option<KnownRevocations>,
    ) -> Result<(RevocationChange, KnownRevocations), StoreError> {
        let read = self.run(async |conn| since(conn, deployment, known).await).await?;
        let keys = read.rows.iter().map(|row| row.key).collect();
        let change = if read.is_all { RevocationChange::All(keys) } else { RevocationChange::Added(keys) };
        Ok((change, read.known))
    }

    /// How many revocations a deployment has, and may have.
    pub async fn revocation_total(&self, deployment: &DeploymentId) -> Result<RevocationTotal, StoreError> {
        self.run(async |conn| total(conn, deployment).await).await
    }
}

impl Tx {
    /// As [`Reader::revocation_total`].
    pub async fn revocation_total(
        &mut self,
        deployment: &DeploymentId,
    ) -> Result<RevocationTotal, StoreError> {
        self.step(async |conn| total(conn, deployment).await).await
    }

    /// Those of a deployment that refuse by one of `keys`, of which there are at most 1,000.
    pub async fn revocations_by(
        &mut self,
        deployment: &DeploymentId,
        keys: &[DenyKey],
    ) -> Result<Vec<Revocation>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let listed = places(2, keys.len());
        let sql = format!("SELECT {COLUMNS} AND deny_key IN ({listed}) ORDER BY generation, id");
        self.step(async |conn| {
            let query = sqlx::query(AssertSqlSafe(sql)).persistent(false).bind(deployment.as_str());
            let query = keys.iter().fold(query, |query, key| query.bind(key.0.to_vec()));
            query.fetch_all(conn).await?.iter().map(read).collect()
        })
        .await
    }

    /// Adds revocations to a locked deployment, which has none of their keys and room for them. The
    /// change needs a generation: nodes read them then.
    pub async fn insert_revocations(
        &mut self,
        deployment: &DeploymentId,
        revocations: &[Revocation],
    ) -> Result<(), StoreError> {
        self.change(async |conn| {
            page_cache::with_large(conn, async |conn| write(conn, deployment, revocations).await).await?;
            let ids = revocations.iter().map(|revocation| revocation.id.0);
            deployment::change_mark(conn, deployment, ids, row::bound(revocations.len() as u64)).await
        })
        .await
    }

    /// Removes a revocation of a locked deployment; `false` if there is none. The change needs a
    /// generation.
    pub async fn remove_revocation(
        &mut self,
        deployment: &DeploymentId,
        id: RevocationId,
    ) -> Result<bool, StoreError> {
        self.change(async |conn| {
            let removed = sqlx::query("DELETE FROM revocation WHERE deployment = $1 AND id = $2")
                .bind(deployment.as_str())
                .bind(id.0.to_vec())
                .execute(&mut *conn)
                .await?;
            if removed.rows_affected() == 0 {
                return Ok(false);
            }
            deployment::change_mark(conn, deployment, [id.0], -1).await?;
            Ok(true)
        })
        .await
    }
}

/// Of a revocation, what nodes need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ListedKey {
    pub(crate) id: [u8; 16],
    pub(crate) generation: Generation,
    pub(crate) key: DenyKey,
}

pub(crate) struct RevocationsRead {
    pub(crate) rows: Vec<ListedKey>,
    /// Others are gone.
    pub(crate) is_all: bool,
    pub(crate) known: KnownRevocations,
}

pub(crate) async fn since(
    conn: &mut AnyConnection,
    deployment: &Deployment,
    known: Option<KnownRevocations>,
) -> Result<RevocationsRead, StoreError> {
    let listed = match deployment.revocations {
        mark if mark.is_empty() => mark,
        mark => {
            crl::revisions(conn, &deployment.id).await?.into_iter().fold(mark, |mark, (_, it)| mark ^ it.0)
        }
    };
    let now = KnownRevocations { listed, newest: deployment.generation };
    let read = |rows, is_all| RevocationsRead { rows, is_all, known: now };
    if let Some(known) = known {
        if known.listed == listed {
            return Ok(read(Vec::new(), false));
        }
        // In another history the numbers repeat, and ids do not.
        let rows = after(conn, &deployment.id, known.newest).await?;
        if marked(known.listed, &rows) == listed {
            return Ok(read(rows, false));
        }
    }
    if listed.is_empty() {
        return Ok(read(Vec::new(), true));
    }
    let rows = all(conn, &deployment.id).await?;
    if marked(RevocationMark::default(), &rows) != listed {
        return Err(StoreError::Corrupt(format!("revocations of {} are missing, or strange", deployment.id)));
    }
    Ok(read(rows, true))
}

fn marked(mark: RevocationMark, rows: &[ListedKey]) -> RevocationMark {
    rows.iter().fold(mark, |mark, row| mark ^ row.id)
}

/// All rows of a deployment.
pub(crate) async fn all(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
) -> Result<Vec<ListedKey>, StoreError> {
    after(conn, deployment, Generation(0)).await
}

/// What [`since`] would have read of these rows.
pub(crate) async fn known(
    conn: &mut AnyConnection,
    deployment: &Deployment,
) -> Result<KnownRevocations, StoreError> {
    let revisions = crl::revisions(conn, &deployment.id).await?;
    let listed = revisions.into_iter().fold(deployment.revocations, |mark, (_, it)| mark ^ it.0);
    Ok(KnownRevocations { listed, newest: deployment.generation })
}

async fn after(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    newest: Generation,
) -> Result<Vec<ListedKey>, StoreError> {
    let (mut found, mut last) = (Vec::new(), (newest.0, vec![0xff; 17]));
    loop {
        let rows = sqlx::query(
            "SELECT id, generation, deny_key FROM revocation WHERE deployment = $1 AND (generation, id) > ($2, $3)
             ORDER BY generation, id LIMIT $4",
        )
        .bind(deployment.as_str())
        .bind(last.0)
        .bind(last.1)
        .bind(READ_AT_ONCE)
        .fetch_all(&mut *conn)
        .await?;
        for row in &rows {
            found.push(ListedKey {
                id: row::sixteen(row, "id")?,
                generation: Generation(row::integer(row, "generation")?),
                key: DenyKey(row::sixteen(row, "deny_key")?),
            });
        }
        match found.last() {
            Some(newest) if rows.len() as i64 == READ_AT_ONCE => {
                last = (newest.generation.0, newest.id.to_vec());
            }
            _ => return Ok(found),
        }
    }
}

async fn total(conn: &mut AnyConnection, deployment: &DeploymentId) -> Result<RevocationTotal, StoreError> {
    let row = sqlx::query(
        "SELECT coalesce((SELECT revocation_count FROM deployment WHERE id = $1), 0) AS listed,
                (SELECT CAST(coalesce(sum(revocation_count), 0) AS BIGINT) FROM deployment
                 WHERE revocation_count > 0) AS in_all",
    )
    .bind(deployment.as_str())
    .fetch_one(conn)
    .await?;
    let (listed, in_all) = (row::count(&row, "listed")?, row::count(&row, "in_all")?);
    let (own, shared) =
        (REVOCATIONS_MAX.saturating_sub(listed), REVOCATIONS_IN_ALL_MAX.saturating_sub(in_all));
    Ok(RevocationTotal { listed, room: own.min(shared) })
}

fn read(row: &AnyRow) -> Result<Revocation, StoreError> {
    Ok(Revocation {
        id: RevocationId(row::sixteen(row, "id")?),
        generation: Generation(row::integer(row, "generation")?),
        what: what(row)?,
        reason: row::text(row, "reason")?,
        revoked_by: ApiKey::parse(&row::text(row, "revoked_by")?)
            .ok_or_else(|| row::unreadable("revoked_by"))?,
        revoked_at: Timestamp(row::integer(row, "revoked_at")?),
    })
}

fn what(row: &AnyRow) -> Result<RevokedWhat, StoreError> {
    Ok(match row::text(row, "kind")?.as_str() {
        "certificate" => RevokedWhat::Certificate {
            device: DeviceId(row::sixteen(row, "device")?),
            fingerprint: row::text(row, "fingerprint")?,
            issuer: row::text(row, "issuer")?,
            serial: row::text(row, "serial")?,
        },
        "serial" => {
            RevokedWhat::Serial { issuer: row::text(row, "issuer")?, serial: row::text(row, "serial")? }
        }
        "name" => {
            RevokedWhat::Name { name: row::text(row, "name")?, issuer: row::text_or_null(row, "issuer")? }
        }
        _ => return Err(row::unreadable("kind")),
    })
}

/// The columns that say what is revoked.
#[derive(Default)]
struct WhatColumns<'a> {
    kind: &'static str,
    device: Option<Vec<u8>>,
    fingerprint: Option<&'a str>,
    issuer: Option<&'a str>,
    serial: Option<&'a str>,
    name: Option<&'a str>,
}

impl<'a> WhatColumns<'a> {
    fn of(what: &'a RevokedWhat) -> Self {
        match what {
            RevokedWhat::Certificate { device, fingerprint, issuer, serial } => Self {
                kind: "certificate",
                device: Some(device.0.to_vec()),
                fingerprint: Some(fingerprint),
                issuer: Some(issuer),
                serial: Some(serial),
                name: None,
            },
            RevokedWhat::Serial { issuer, serial } => {
                Self { kind: "serial", issuer: Some(issuer), serial: Some(serial), ..Self::default() }
            }
            RevokedWhat::Name { name, issuer } => {
                Self { kind: "name", name: Some(name), issuer: issuer.as_deref(), ..Self::default() }
            }
        }
    }
}

async fn write(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    revocations: &[Revocation],
) -> Result<(), StoreError> {
    let insert =
        "INSERT INTO revocation (deployment, id, generation, deny_key, kind, device, fingerprint, issuer,
        serial, name, reason, revoked_by, revoked_at)";
    let stored = |text: &str| row::storable(text).into_owned();
    many_rows::insert(conn, (insert, ""), 13, revocations, |query, revocation| {
        let what = WhatColumns::of(&revocation.what);
        query
            .bind(deployment.to_string())
            .bind(revocation.id.0.to_vec())
            .bind(revocation.generation.0)
            .bind(revocation.what.key().0.to_vec())
            .bind(what.kind)
            .bind(what.device)
            .bind(what.fingerprint.map(stored))
            .bind(what.issuer.map(stored))
            .bind(what.serial.map(stored))
            .bind(what.name.map(stored))
            .bind(stored(&revocation.reason))
            .bind(revocation.revoked_by.to_string())
            .bind(revocation.revoked_at.0)
    })
    .await
}

/// Into a replica: without what is shown.
pub(crate) async fn write_listed(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    rows: &[ListedKey],
) -> Result<(), StoreError> {
    let insert =
        "INSERT INTO revocation (deployment, id, generation, deny_key, kind, reason, revoked_by, revoked_at)";
    many_rows::insert(conn, (insert, ""), 8, rows, |query, row| {
        query
            .bind(deployment.to_string())
            .bind(row.id.to_vec())
            .bind(row.generation.0)
            .bind(row.key.0.to_vec())
            .bind("")
            .bind("")
            .bind("")
            .bind(0_i64)
    })
    .await
}

/// Of a replica.
pub(crate) async fn remove_listed(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    rows: &[ListedKey],
) -> Result<(), StoreError> {
    for rows in rows.chunks(1_000) {
        let listed = places(2, rows.len());
        let sql = format!("DELETE FROM revocation WHERE deployment = $1 AND id IN ({listed})");
        // Safe: numbers.
        let query = sqlx::query(AssertSqlSafe(sql)).persistent(false).bind(deployment.as_str());
        rows.iter().fold(query, |query, row| query.bind(row.id.to_vec())).execute(&mut *conn).await?;
    }
    Ok(())
}
