use std::sync::Arc;

use certward_pki::{Finding, PrivateKey, TlsType};
use sqlx::{AnyConnection, any::AnyRow};

use crate::{
    ApiKey, DeploymentId, MasterKeyRing, ProjectId, Reader, StoreError, Timestamp, TrustScope, Tx, VersionId,
    engine::row,
    sealed::{sealing::RecordPlace, secret},
};

pub(crate) const KEPT: usize = 10;

/// An accepted upload, without its sealed private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its deployment.
    pub deployment: DeploymentId,
    /// Its id.
    pub version: VersionId,
    /// One-way or two-way.
    pub tls_type: TlsType,
    /// The served chain, DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// Client CAs, DER; empty exactly for one-way.
    pub client_cas: Vec<Vec<u8>>,
    /// Its trust scope.
    pub trust_scope: TrustScope,
    /// The leaf's common name.
    pub common_name: Option<String>,
    /// The leaf's notAfter.
    pub not_after: Timestamp,
    /// Its findings at acceptance.
    pub findings: Vec<Finding>,
    /// Acceptance time.
    pub created_at: Timestamp,
    /// Proven by all counted nodes; only then is it a fallback.
    pub proven: bool,
    /// The API key that uploaded it or rolled back to it. `None`: of an older release.
    pub accepted_by: Option<ApiKey>,
    /// The version that it brought back, if it is a rollback.
    pub restores: Option<VersionId>,
}

/// A version that the store still has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptVersion {
    /// The version.
    pub version: Version,
    /// Its key is not erased.
    pub has_key: bool,
}

/// An upload in a list, without its certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadEnd {
    /// Its deployment.
    pub deployment: DeploymentId,
    /// Its id.
    pub version: VersionId,
    /// One-way or two-way.
    pub tls_type: TlsType,
    /// The leaf's common name.
    pub common_name: Option<String>,
    /// The leaf's notAfter.
    pub not_after: Timestamp,
}

macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT deployment, version, tls_type, chain, client_cas, trust_scope, common_name, not_after, ",
            "findings, created_at, proven, accepted_by, restores FROM version ",
            $condition
        )
    };
}

fn place(deployment: &DeploymentId, version: VersionId) -> RecordPlace<'_> {
    RecordPlace { table: "version", row: deployment.as_str(), version: version.0 }
}

impl Version {
    fn read(row: &AnyRow) -> Result<Self, StoreError> {
        let trust_scope = row::bytes(row, "trust_scope")?;
        let findings = row::text(row, "findings")?;
        Ok(Self {
            deployment: row::deployment_id(row, "deployment")?,
            version: VersionId(row::integer(row, "version")?),
            tls_type: tls_type(row)?,
            chain: split(&row::bytes(row, "chain")?).ok_or_else(|| row::unreadable("chain"))?,
            client_cas: split(&row::bytes(row, "client_cas")?)
                .ok_or_else(|| row::unreadable("client_cas"))?,
            trust_scope: trust_scope
                .try_into()
                .map(TrustScope)
                .map_err(|_| row::unreadable("trust_scope"))?,
            common_name: row::text_or_null(row, "common_name")?,
            not_after: Timestamp(row::integer(row, "not_after")?),
            findings: serde_json::from_str(&findings).map_err(|_| row::unreadable("findings"))?,
            created_at: Timestamp(row::integer(row, "created_at")?),
            proven: row::integer(row, "proven")? != 0,
            accepted_by: row::text_or_null(row, "accepted_by")?
                .map(|key| ApiKey::parse(&key).ok_or_else(|| row::unreadable("accepted_by")))
                .transpose()?,
            restores: row::integer_or_null(row, "restores")?.map(VersionId),
        })
    }
}

fn tls_type(row: &AnyRow) -> Result<TlsType, StoreError> {
    TlsType::parse(&row::text(row, "tls_type")?).ok_or_else(|| row::unreadable("tls_type"))
}

impl Reader {
    /// An accepted upload.
    pub async fn version(
        &self,
        deployment: &DeploymentId,
        version: VersionId,
    ) -> Result<Option<Version>, StoreError> {
        self.run(async |conn| find(conn, deployment, version).await).await
    }

    /// The versions that are kept, newest first; at most 10.
    pub async fn versions(&self, deployment: &DeploymentId) -> Result<Vec<KeptVersion>, StoreError> {
        self.run(async |conn| kept(conn, deployment).await).await
    }

    /// What is shown in lists of the newest uploads of a project's deployments from `from` to `to`.
    pub async fn upload_ends(
        &self,
        project: &ProjectId,
        from: &DeploymentId,
        to: &DeploymentId,
    ) -> Result<Vec<UploadEnd>, StoreError> {
        self.run(async |conn| {
            let rows = sqlx::query(
                "SELECT v.deployment, v.version, v.tls_type, v.common_name, v.not_after
                 FROM deployment d JOIN version v ON v.deployment = d.id AND v.version = d.tls_version
                 WHERE d.project = $1 AND d.id >= $2 AND d.id <= $3 ORDER BY d.id",
            )
            .bind(project.as_str())
            .bind(from.as_str())
            .bind(to.as_str())
            .fetch_all(conn)
            .await?;
            rows.iter()
                .map(|row| {
                    Ok(UploadEnd {
                        deployment: row::deployment_id(row, "deployment")?,
                        version: VersionId(row::integer(row, "version")?),
                        tls_type: tls_type(row)?,
                        common_name: row::text_or_null(row, "common_name")?,
                        not_after: Timestamp(row::integer(row, "not_after")?),
                    })
                })
                .collect()
        })
        .await
    }

    /// The fallback: the newest version before `before` that was proven and has its key.
    pub async fn last_proven_version(
        &self,
        deployment: &DeploymentId,
        before: VersionId,
    ) -> Result<Option<Version>, StoreError> {
        self.run(async |conn| {
            let row = sqlx::query(select!(
                "WHERE deployment = $1 AND version < $2 AND proven = 1 AND sealed_key IS NOT NULL
                 ORDER BY version DESC LIMIT 1"
            ))
            .bind(deployment.as_str())
            .bind(before.0)
            .fetch_optional(conn)
            .await?;
            row.as_ref().map(Version::read).transpose()
        })
        .await
    }

    /// Opens a version's sealed key; `None` if erased.
    ///
    /// # Errors
    /// [`StoreError::Sealed`].
    pub async fn private_key(
        &self,
        deployment: &DeploymentId,
        version: VersionId,
    ) -> Result<Option<PrivateKey>, StoreError> {
        let keys = &self.keys;
        self.run(async |conn| private_key(conn, keys, deployment, version).await).await
    }
}

impl Tx {
    /// Stores an upload and its sealed key; keeps the newest 10 versions.
    pub async fn insert_version(&mut self, version: &Version, key: &PrivateKey) -> Result<(), StoreError> {
        let store = Arc::clone(&self.store);
        self.change(async |conn| {
            let sealer = secret::sealer(conn, &store.keys).await?;
            let sealed = sealer.seal(place(&version.deployment, version.version), key.expose_pkcs8_der())?;
            write(conn, version, Some(sealed)).await?;
            drop_surplus(conn, &version.deployment).await
        })
        .await
    }

    /// An accepted upload.
    pub async fn version(
        &mut self,
        deployment: &DeploymentId,
        version: VersionId,
    ) -> Result<Option<Version>, StoreError> {
        self.step(async |conn| find(conn, deployment, version).await).await
    }

    /// As [`Reader::versions`].
    pub async fn versions(&mut self, deployment: &DeploymentId) -> Result<Vec<KeptVersion>, StoreError> {
        self.step(async |conn| kept(conn, deployment).await).await
    }

    /// Marks a version as proven by all counted nodes. The first time, returns when it was
    /// accepted.
    pub async fn mark_proven(
        &mut self,
        deployment: &DeploymentId,
        version: VersionId,
    ) -> Result<Option<Timestamp>, StoreError> {
        self.change(async |conn| {
            let sql = "UPDATE version SET proven = 1 WHERE deployment = $1 AND version = $2 AND proven = 0
                       RETURNING created_at";
            let marked =
                sqlx::query(sql).bind(deployment.as_str()).bind(version.0).fetch_optional(conn).await?;
            marked.map(|row| row::integer(&row, "created_at").map(Timestamp)).transpose()
        })
        .await
    }

    /// Erases the sealed key of one version. The change needs a generation: replicas erase it then.
    pub async fn erase_key(
        &mut self,
        deployment: &DeploymentId,
        version: VersionId,
    ) -> Result<(), StoreError> {
        self.change(async |conn| {
            sqlx::query("UPDATE version SET sealed_key = NULL WHERE deployment = $1 AND version = $2")
                .bind(deployment.as_str())
                .bind(version.0)
                .execute(conn)
                .await?;
            Ok(())
        })
        .await
    }

    /// Erases all sealed keys of a deployment.
    pub async fn erase_keys(&mut self, deployment: &DeploymentId) -> Result<(), StoreError> {
        self.change(async |conn| {
            sqlx::query(
                "UPDATE version SET sealed_key = NULL WHERE deployment = $1 AND sealed_key IS NOT NULL",
            )
            .bind(deployment.as_str())
            .execute(conn)
            .await?;
            Ok(())
        })
        .await
    }
}

pub(crate) async fn find(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    version: VersionId,
) -> Result<Option<Version>, StoreError> {
    let row = sqlx::query(select!("WHERE deployment = $1 AND version = $2"))
        .bind(deployment.as_str())
        .bind(version.0)
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(Version::read).transpose()
}

async fn kept(conn: &mut AnyConnection, deployment: &DeploymentId) -> Result<Vec<KeptVersion>, StoreError> {
    let rows = sqlx::query(
        "SELECT deployment, version, tls_type, chain, client_cas, trust_scope, common_name, not_after, findings,
                created_at, proven, accepted_by, restores,
                CASE WHEN sealed_key IS NULL THEN 0 ELSE 1 END AS has_key
         FROM version WHERE deployment = $1 ORDER BY version DESC",
    )
    .bind(deployment.as_str())
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(KeptVersion { version: Version::read(row)?, has_key: row::integer(row, "has_key")? == 1 })
        })
        .collect()
}

/// Those whose keys are not erased.
pub(crate) async fn with_key(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
) -> Result<Vec<VersionId>, StoreError> {
    let rows = sqlx::query("SELECT version FROM version WHERE deployment = $1 AND sealed_key IS NOT NULL")
        .bind(deployment.as_str())
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| row::integer(row, "version").map(VersionId)).collect()
}

/// A check that keys open.
pub(crate) async fn open_some_key(conn: &mut AnyConnection, keys: &MasterKeyRing) -> Result<(), StoreError> {
    let row = sqlx::query(
        "SELECT deployment, version FROM version WHERE sealed_key IS NOT NULL ORDER BY deployment, version LIMIT 1",
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(()) };
    let deployment = row::deployment_id(&row, "deployment")?;
    private_key(conn, keys, &deployment, VersionId(row::integer(&row, "version")?)).await.map(|_| ())
}

async fn private_key(
    conn: &mut AnyConnection,
    keys: &MasterKeyRing,
    deployment: &DeploymentId,
    version: VersionId,
) -> Result<Option<PrivateKey>, StoreError> {
    let row = sqlx::query("SELECT sealed_key FROM version WHERE deployment = $1 AND version = $2")
        .bind(deployment.as_str())
        .bind(version.0)
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let Some(sealed) = row::bytes_or_null(&row, "sealed_key")? else { return Ok(None) };
    let opened = keys.open(place(deployment, version), &sealed).map_err(|error| match error {
        // The master key was checked: this record is damaged.
        StoreError::WrongMasterKey => StoreError::Sealed(place(deployment, version).to_string()),
        other => other,
    })?;
    Ok(Some(PrivateKey::from_pkcs8_der(opened)))
}

pub(crate) async fn write(
    conn: &mut AnyConnection,
    version: &Version,
    sealed_key: Option<Vec<u8>>,
) -> Result<(), StoreError> {
    let findings = serde_json::to_string(&version.findings)
        .map_err(|_| StoreError::corrupt("findings of a new version"))?;
    sqlx::query(
        "INSERT INTO version (deployment, version, tls_type, chain, client_cas, trust_scope, common_name,
                              not_after, findings, created_at, proven, accepted_by, restores, sealed_key)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(version.deployment.as_str())
    .bind(version.version.0)
    .bind(version.tls_type.as_str())
    .bind(join(&version.chain))
    .bind(join(&version.client_cas))
    .bind(version.trust_scope.0.to_vec())
    .bind(version.common_name.as_deref().map(|name| row::storable(name).into_owned()))
    .bind(version.not_after.0)
    .bind(findings)
    .bind(version.created_at.0)
    .bind(i64::from(version.proven))
    .bind(version.accepted_by.as_ref().map(ApiKey::as_str))
    .bind(version.restores.map(|restored| restored.0))
    .bind(sealed_key)
    .execute(conn)
    .await?;
    Ok(())
}

/// The served versions and fallbacks, with sealed keys.
pub(crate) async fn served_between(
    conn: &mut AnyConnection,
    from: &DeploymentId,
    to: &DeploymentId,
) -> Result<Vec<(Version, Option<Vec<u8>>)>, StoreError> {
    // For an inner join PostgreSQL may read all versions.
    let rows = sqlx::query(
        "SELECT v.deployment, v.version, v.tls_type, v.chain, v.client_cas, v.trust_scope, v.common_name,
                v.not_after, v.findings, v.created_at, v.proven, v.accepted_by, v.restores, v.sealed_key
         FROM deployment d LEFT JOIN version v ON v.deployment = d.id AND (v.version = d.tls_version OR v.version =
             (SELECT max(f.version) FROM version f WHERE f.deployment = d.id AND f.version < d.tls_version
                 AND f.proven = 1 AND f.sealed_key IS NOT NULL))
         WHERE d.id >= $1 AND d.id <= $2 ORDER BY d.id, v.version",
    )
    .bind(from.as_str())
    .bind(to.as_str())
    .fetch_all(conn)
    .await?;
    let mut versions = Vec::with_capacity(rows.len());
    for row in &rows {
        if row::integer_or_null(row, "version")?.is_some() {
            versions.push((Version::read(row)?, row::bytes_or_null(row, "sealed_key")?));
        }
    }
    Ok(versions)
}

async fn drop_surplus(conn: &mut AnyConnection, deployment: &DeploymentId) -> Result<(), StoreError> {
    let rows = sqlx::query(
        "SELECT version, CASE WHEN proven = 1 AND sealed_key IS NOT NULL THEN 1 ELSE 0 END AS fallback
         FROM version WHERE deployment = $1 ORDER BY version DESC",
    )
    .bind(deployment.as_str())
    .fetch_all(&mut *conn)
    .await?;
    let versions = rows
        .iter()
        .map(|row| Ok((row::integer(row, "version")?, row::integer(row, "fallback")? == 1)))
        .collect::<Result<Vec<_>, StoreError>>()?;
    for version in surplus(&versions) {
        sqlx::query("DELETE FROM version WHERE deployment = $1 AND version = $2")
            .bind(deployment.as_str())
            .bind(version)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// The versions to drop, of `versions`: newest first, each with whether it is a fallback.
///
/// The newest fallback stays at any age, instead of the tenth: nodes may serve it while later
/// uploads fail, and need it after a restart.
fn surplus(versions: &[(i64, bool)]) -> Vec<i64> {
    let fallback = versions.iter().position(|(_, fallback)| *fallback).filter(|index| *index >= KEPT);
    let kept = if fallback.is_some() { KEPT - 1 } else { KEPT };
    let beyond = versions.iter().enumerate().skip(kept);
    beyond.filter(|(index, _)| Some(*index) != fallback).map(|(_, (version, _))| *version).collect()
}

/// With 4-byte lengths.
pub(crate) fn join(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        // Uploads are far below 4 GiB.
        joined.extend_from_slice(&(part.len() as u32).to_be_bytes());
        joined.extend_from_slice(part);
    }
    joined
}

pub(crate) fn split(mut joined: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut parts = Vec::new();
    while !joined.is_empty() {
        let (length, rest) = joined.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        parts.push(part.to_vec());
        joined = rest;
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_strings_are_joined_and_split_again() {
        for parts in [vec![], vec![vec![]], vec![vec![1, 2, 3], vec![], vec![4; 300]]] {
            assert_eq!(split(&join(&parts)), Some(parts));
        }
        assert_eq!(split(&[0, 0, 0, 2, 1]), None);
        assert_eq!(split(&[0, 0]), None);
    }

    #[test]
    fn the_newest_ten_are_kept_and_the_fallback_whatever_its_age() {
        let versions =
            |count: i64, fallback: i64| (1..=count).rev().map(|v| (v, v == fallback)).collect::<Vec<_>>();
        let none: Vec<i64> = vec![];
        assert_eq!(surplus(&versions(10, 0)), none);
        assert_eq!(surplus(&versions(11, 0)), [1]);
        assert_eq!(surplus(&versions(11, 5)), [1]);
        // The oldest is the fallback.
        assert_eq!(surplus(&versions(11, 1)), [2]);
        assert_eq!(surplus(&versions(12, 1)), [3, 2]);
    }
}
