use sqlx::{AnyConnection, AssertSqlSafe, any::AnyRow};

use crate::{
    Boundary, ProjectId, StoreError, Timestamp, UpstreamAllow,
    engine::{lock, row},
    repo::{api_key, host_suffix},
};

/// A group of deployments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Display name; may be empty.
    pub name: String,
    /// Free text; may be empty.
    pub description: String,
    /// Creation time.
    pub created_at: Timestamp,
    /// Set by an admin.
    pub boundary: Boundary,
}

impl Project {
    pub(crate) fn default_at(now: Timestamp) -> Self {
        Self {
            id: ProjectId::default_project(),
            name: "default".into(),
            description: String::new(),
            created_at: now,
            boundary: Boundary::default(),
        }
    }

    fn read(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row::project_id(row, "id")?,
            name: row::text(row, "name")?,
            description: row::text(row, "description")?,
            created_at: Timestamp(row::integer(row, "created_at")?),
            boundary: Boundary { upstream_allow: upstream_allow(row)?, host_suffixes: Vec::new() },
        })
    }
}

/// A row for deployments to reference.
pub(crate) async fn ensure(conn: &mut AnyConnection, id: &ProjectId) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO project (id, name, description, created_at) VALUES ($1, '', '', 0)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(id.as_str())
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn all(conn: &mut AnyConnection) -> Result<Vec<Project>, StoreError> {
    let rows =
        sqlx::query("SELECT id, name, description, created_at, upstream_allow FROM project ORDER BY id")
            .fetch_all(&mut *conn)
            .await?;
    let mut projects = rows.iter().map(Project::read).collect::<Result<Vec<_>, _>>()?;
    for (suffix, of) in host_suffix::all(conn).await? {
        if let Ok(at) = projects.binary_search_by(|project| project.id.cmp(&of)) {
            projects[at].boundary.host_suffixes.push(suffix);
        }
    }
    Ok(projects)
}

pub(crate) async fn find_unlocked(
    conn: &mut AnyConnection,
    id: &ProjectId,
) -> Result<Option<Project>, StoreError> {
    find(conn, id, "").await
}

/// Locks against removal, as a foreign key check does. A stronger lock would deadlock with a change
/// that holds the generation and checks its key.
pub(crate) async fn find_kept(
    conn: &mut AnyConnection,
    id: &ProjectId,
) -> Result<Option<Project>, StoreError> {
    find(conn, id, " FOR KEY SHARE").await
}

/// Exclusive: waits for changes in the project, and blocks them. The project's keys lose it, so
/// their rows are locked first; only the acting key's lock comes before.
pub(crate) async fn find_to_remove(
    conn: &mut AnyConnection,
    id: &ProjectId,
) -> Result<Option<Project>, StoreError> {
    api_key::lock_those_of_project(conn, id).await?;
    find(conn, id, " FOR UPDATE").await
}

/// Does not wait for changes inside the project.
pub(crate) async fn find_to_change(
    conn: &mut AnyConnection,
    id: &ProjectId,
) -> Result<Option<Project>, StoreError> {
    find(conn, id, " FOR NO KEY UPDATE").await
}

async fn find(
    conn: &mut AnyConnection,
    id: &ProjectId,
    lock: &'static str,
) -> Result<Option<Project>, StoreError> {
    let lock = if lock::is_postgres(conn) { lock } else { "" };
    let sql =
        format!("SELECT id, name, description, created_at, upstream_allow FROM project WHERE id = $1{lock}");
    // Safe: fixed texts.
    let row = sqlx::query(AssertSqlSafe(sql)).bind(id.as_str()).fetch_optional(&mut *conn).await?;
    let Some(row) = row else { return Ok(None) };
    let mut project = Project::read(&row)?;
    project.boundary.host_suffixes = host_suffix::of_project(conn, id).await?;
    Ok(Some(project))
}

pub(crate) async fn insert(conn: &mut AnyConnection, project: &Project) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO project (id, name, description, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(project.id.as_str())
    .bind(row::storable(&project.name).into_owned())
    .bind(row::storable(&project.description).into_owned())
    .bind(project.created_at.0)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(crate) async fn update_texts(conn: &mut AnyConnection, project: &Project) -> Result<(), StoreError> {
    sqlx::query("UPDATE project SET name = $2, description = $3 WHERE id = $1")
        .bind(project.id.as_str())
        .bind(row::storable(&project.name).into_owned())
        .bind(row::storable(&project.description).into_owned())
        .execute(conn)
        .await?;
    Ok(())
}

pub(crate) async fn remove(conn: &mut AnyConnection, id: &ProjectId) -> Result<(), StoreError> {
    // Cascades to its rows of API keys.
    sqlx::query("DELETE FROM project WHERE id = $1").bind(id.as_str()).execute(conn).await?;
    Ok(())
}

pub(crate) async fn deployments_in(conn: &mut AnyConnection, id: &ProjectId) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT count(*) AS n FROM deployment WHERE project = $1")
        .bind(id.as_str())
        .fetch_one(conn)
        .await?;
    u64::try_from(row::integer(&row, "n")?).map_err(|_| row::unreadable("n"))
}

pub(crate) fn upstream_allow(row: &AnyRow) -> Result<Option<UpstreamAllow>, StoreError> {
    let text = row::text_or_null(row, "upstream_allow")?;
    let read = |text: String| UpstreamAllow::read(&text).ok_or_else(|| row::unreadable("upstream_allow"));
    text.map(read).transpose()
}
