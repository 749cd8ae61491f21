//! Rows on their way from the store into a replica, keys still sealed.

use sqlx::AnyConnection;

use crate::{
    Deployment, DeploymentId, Generation, StoreError, Version, VersionId,
    engine::row,
    repo::{deployment, host, project, version},
};

pub(crate) struct DeploymentCopy {
    pub(crate) deployment: Deployment,
    /// The fallback, then the newest; no key if erased.
    versions: Vec<(Version, Option<Vec<u8>>)>,
}

pub(crate) enum CopiedDeployment {
    Whole(Box<DeploymentCopy>),
    Gone(DeploymentId),
    /// An earlier copy must not be served instead.
    Unreadable(DeploymentId),
}

impl CopiedDeployment {
    pub(crate) fn whole(copy: DeploymentCopy) -> Self {
        Self::Whole(Box::new(copy))
    }

    pub(crate) fn id(&self) -> &DeploymentId {
        match self {
            Self::Whole(copy) => &copy.deployment.id,
            Self::Gone(id) | Self::Unreadable(id) => id,
        }
    }

    /// Whether it has revocations or CRLs.
    pub(crate) fn is_marked(&self) -> bool {
        matches!(self, Self::Whole(copy) if !copy.deployment.revocations.is_empty())
    }
}

/// Needs a snapshot.
pub(crate) async fn between(
    conn: &mut AnyConnection,
    from: &DeploymentId,
    to: &DeploymentId,
) -> Result<Vec<DeploymentCopy>, StoreError> {
    let deployments = deployment::between(conn, from, to).await?;
    let mut versions = version::served_between(conn, from, to).await?.into_iter().peekable();
    let of = |deployment: Deployment| {
        let mut copy = DeploymentCopy { deployment, versions: Vec::new() };
        while let Some(own) = versions.next_if(|(version, _)| version.deployment <= copy.deployment.id) {
            copy.versions.push(own);
        }
        copy
    };
    Ok(deployments.into_iter().map(of).collect())
}

/// An error affects one deployment only.
pub(crate) async fn each(
    conn: &mut AnyConnection,
    ids: &[DeploymentId],
) -> Result<Vec<CopiedDeployment>, StoreError> {
    let mut copied = Vec::with_capacity(ids.len());
    for id in ids {
        copied.push(match between(conn, id, id).await {
            Ok(mut found) => {
                found.pop().map_or_else(|| CopiedDeployment::Gone(id.clone()), CopiedDeployment::whole)
            }
            Err(StoreError::Corrupt(_)) => CopiedDeployment::Unreadable(id.clone()),
            Err(error) => return Err(error),
        });
    }
    Ok(copied)
}

pub(crate) async fn generation_of(
    conn: &mut AnyConnection,
    id: &DeploymentId,
) -> Result<Option<Generation>, StoreError> {
    let row = sqlx::query("SELECT generation FROM deployment WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(conn)
        .await?;
    row.map(|row| row::integer(&row, "generation").map(Generation)).transpose()
}

/// `newest`: the newest change when the copy was read.
pub(crate) async fn is_older(
    conn: &mut AnyConnection,
    copied: &CopiedDeployment,
    newest: Generation,
) -> Result<bool, StoreError> {
    let there = generation_of(conn, copied.id()).await?;
    let read = match copied {
        CopiedDeployment::Whole(copy) => copy.deployment.generation,
        CopiedDeployment::Gone(_) | CopiedDeployment::Unreadable(_) => newest,
    };
    Ok(there.is_some_and(|there| there > read))
}

/// Revocations and CRLs stay if there are any of the deployment; see [`RevocationCopy`]. Returns
/// whether a key that was here is gone.
///
/// [`RevocationCopy`]: super::revocation_copy::RevocationCopy
pub(crate) async fn write(conn: &mut AnyConnection, copied: &CopiedDeployment) -> Result<bool, StoreError> {
    let id = copied.id();
    let keys_before = version::with_key(conn, id).await?;
    sqlx::query("DELETE FROM version WHERE deployment = $1").bind(id.as_str()).execute(&mut *conn).await?;
    let copy = match copied {
        CopiedDeployment::Whole(copy) => copy,
        // Keeps its hosts, so that only this deployment is refused.
        CopiedDeployment::Unreadable(_) => return Ok(!keys_before.is_empty()),
        CopiedDeployment::Gone(_) => {
            deployment::remove(conn, id).await?;
            return Ok(!keys_before.is_empty());
        }
    };
    match copy.deployment.revocations.is_empty() {
        // With revocations and CRLs.
        true => deployment::remove_row(conn, id).await?,
        false => host::free(conn, id).await?,
    }
    project::ensure(conn, &copy.deployment.project).await?;
    host::reassign(conn, &copy.deployment).await?;
    deployment::write_over(conn, &copy.deployment).await?;
    for (version, sealed_key) in &copy.versions {
        version::write(conn, version, sealed_key.clone()).await?;
    }
    let has_key = |wanted: &VersionId| {
        copy.versions.iter().any(|(version, key)| version.version == *wanted && key.is_some())
    };
    Ok(!keys_before.iter().all(has_key))
}
