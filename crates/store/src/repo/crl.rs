//! CRLs of deployments.

use sqlx::AnyConnection;

use crate::{DeploymentId, StoreError, engine::row, repo::revocation::sixteen};

/// By id: those that have been read once.
pub(crate) async fn revisions(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
) -> Result<Vec<(String, [u8; 16])>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, revision FROM crl WHERE deployment = $1 AND revision IS NOT NULL ORDER BY id",
    )
    .bind(deployment.as_str())
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok((row::text(row, "id")?, sixteen(row, "revision")?))).collect()
}
