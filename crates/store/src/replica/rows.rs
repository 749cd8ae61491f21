//! What a node needs to serve a deployment, as it goes from the store into a node's snapshot: rows as they are, keys as
//! they are sealed. Nothing is opened on the way.

use sqlx::AnyConnection;

use crate::{
    Deployment, DeploymentId, Generation, StoreError, Version,
    engine::row,
    repo::{deployment, host, project, version},
};

/// One deployment.
pub(crate) struct Copy {
    pub(crate) deployment: Deployment,
    /// The newest version, and before it the one to fall back to, each with its sealed key unless that is erased.
    versions: Vec<(Version, Option<Vec<u8>>)>,
}

/// What the store said of one deployment.
pub(crate) enum Copied {
    Whole(Copy),
    /// It is not there.
    Gone(DeploymentId),
    /// Its rows cannot be read: whatever was copied before must not be served in their place.
    Unreadable(DeploymentId),
}

impl Copied {
    pub(crate) fn id(&self) -> &DeploymentId {
        match self {
            Self::Whole(copy) => &copy.deployment.id,
            Self::Gone(id) | Self::Unreadable(id) => id,
        }
    }
}

/// Those with `from <= id <= to`, by id. To be called in a transaction that sees one state.
pub(crate) async fn between(
    conn: &mut AnyConnection,
    from: &DeploymentId,
    to: &DeploymentId,
) -> Result<Vec<Copy>, StoreError> {
    let deployments = deployment::between(conn, from, to).await?;
    let mut versions = version::served_between(conn, from, to).await?.into_iter().peekable();
    let of = |deployment: Deployment| {
        let mut copy = Copy { deployment, versions: Vec::new() };
        while let Some(own) = versions.next_if(|(version, _)| version.deployment <= copy.deployment.id) {
            copy.versions.push(own);
        }
        copy
    };
    Ok(deployments.into_iter().map(of).collect())
}

/// As [`between`], one by one: what is wrong with one says nothing of the others.
pub(crate) async fn each(conn: &mut AnyConnection, ids: &[DeploymentId]) -> Result<Vec<Copied>, StoreError> {
    let mut copied = Vec::with_capacity(ids.len());
    for id in ids {
        copied.push(match between(conn, id, id).await {
            Ok(mut found) => found.pop().map_or_else(|| Copied::Gone(id.clone()), Copied::Whole),
            Err(StoreError::Corrupt(_)) => Copied::Unreadable(id.clone()),
            Err(error) => return Err(error),
        });
    }
    Ok(copied)
}

/// The newest change of a deployment that was copied.
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

/// Whether what is there was read later than this, which was read when `newest` was the newest change.
pub(crate) async fn is_older(
    conn: &mut AnyConnection,
    copied: &Copied,
    newest: Generation,
) -> Result<bool, StoreError> {
    let there = generation_of(conn, copied.id()).await?;
    let read = match copied {
        Copied::Whole(copy) => copy.deployment.generation,
        Copied::Gone(_) | Copied::Unreadable(_) => newest,
    };
    Ok(there.is_some_and(|there| there > read))
}

/// Puts it in the place of what is there. Whether keys were erased by it.
pub(crate) async fn write(conn: &mut AnyConnection, copied: &Copied) -> Result<bool, StoreError> {
    let id = copied.id();
    let keys = sqlx::query("DELETE FROM version WHERE deployment = $1")
        .bind(id.as_str())
        .execute(&mut *conn)
        .await?
        .rows_affected();
    let copy = match copied {
        Copied::Whole(copy) => copy,
        // Its names still lead to it, and to nobody else: it is refused alone.
        Copied::Unreadable(_) => return Ok(keys > 0),
        Copied::Gone(_) => {
            deployment::remove(conn, id).await?;
            return Ok(keys > 0);
        }
    };
    sqlx::query("DELETE FROM deployment WHERE id = $1").bind(id.as_str()).execute(&mut *conn).await?;
    project::ensure(conn, &copy.deployment.project).await?;
    host::reassign(conn, &copy.deployment).await?;
    deployment::write(conn, &copy.deployment).await?;
    for (version, sealed_key) in &copy.versions {
        version::write(conn, version, sealed_key.clone()).await?;
    }
    Ok(keys > 0 && copy.versions.iter().all(|(_, key)| key.is_none()))
}
