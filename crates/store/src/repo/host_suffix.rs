use sqlx::{AnyConnection, any::AnyRow};

use crate::{HostSuffix, ProjectId, StoreError, engine::row};

pub(crate) async fn of_project(
    conn: &mut AnyConnection,
    project: &ProjectId,
) -> Result<Vec<HostSuffix>, StoreError> {
    let rows = sqlx::query("SELECT suffix FROM host_suffix WHERE project = $1 ORDER BY position")
        .bind(project.as_str())
        .fetch_all(conn)
        .await?;
    rows.iter().map(suffix).collect()
}

pub(crate) async fn all(conn: &mut AnyConnection) -> Result<Vec<(HostSuffix, ProjectId)>, StoreError> {
    let rows = sqlx::query("SELECT suffix, project FROM host_suffix ORDER BY project, position")
        .fetch_all(conn)
        .await?;
    let mut all = Vec::with_capacity(rows.len());
    for row in &rows {
        let project = row::project_id(row, "project")?;
        match suffix(row) {
            Ok(suffix) => all.push((suffix, project)),
            // Only this suffix loses its effect.
            Err(_) => {
                tracing::warn!(project.id = %project, "a host suffix of the project cannot be read: it reserves no name")
            }
        }
    }
    Ok(all)
}

fn suffix(row: &AnyRow) -> Result<HostSuffix, StoreError> {
    HostSuffix::parse(&row::text(row, "suffix")?).map_err(|_| row::unreadable("suffix"))
}

pub(crate) async fn write(
    conn: &mut AnyConnection,
    suffix: &HostSuffix,
    project: &ProjectId,
    position: i64,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO host_suffix (suffix, parent, project, position) VALUES ($1, $2, $3, $4)")
        .bind(suffix.as_str())
        .bind(suffix.parent().unwrap_or(""))
        .bind(project.as_str())
        .bind(position)
        .execute(conn)
        .await?;
    Ok(())
}
