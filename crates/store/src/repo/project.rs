use sqlx::{AnyConnection, AssertSqlSafe, any::AnyRow};

use crate::{
    Boundary, ProjectId, Reader, StoreError, Timestamp, Tx, UpstreamAllow,
    engine::{lock, row},
    repo::{alert, api_key, ending, host_suffix},
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

impl Reader {
    /// All projects by id.
    pub async fn projects(&self) -> Result<Vec<Project>, StoreError> {
        self.run(async |conn| {
            let rows = sqlx::query(
                "SELECT id, name, description, created_at, upstream_allow FROM project ORDER BY id",
            )
            .fetch_all(&mut *conn)
            .await?;
            let mut projects = rows.iter().map(Project::read).collect::<Result<Vec<_>, _>>()?;
            for (suffix, of) in host_suffix::all(conn).await? {
                if let Ok(at) = projects.binary_search_by(|project| project.id.cmp(&of)) {
                    projects[at].boundary.host_suffixes.push(suffix);
                }
            }
            Ok(projects)
        })
        .await
    }

    /// One project.
    pub async fn project(&self, id: &ProjectId) -> Result<Option<Project>, StoreError> {
        self.run(async |conn| find_unlocked(conn, id).await).await
    }
}

impl Tx {
    /// As [`Tx::deployments_in`], locked to add one. After the generation.
    pub async fn deployments_in_for_one_more(&mut self, project: &ProjectId) -> Result<u64, StoreError> {
        let count = async |conn: &mut AnyConnection| {
            lock::hosts(conn).await?;
            deployments_in(conn, project).await
        };
        self.step(count).await
    }

    /// A project, kept from removal by this transaction.
    pub async fn project(&mut self, id: &ProjectId) -> Result<Option<Project>, StoreError> {
        self.step(async |conn| {
            // As a foreign key check locks it. A stronger lock would deadlock with a change that
            // holds the generation and checks its key.
            find(conn, id, " FOR KEY SHARE").await
        })
        .await
    }

    /// A project to remove: waits for changes in it, and blocks them.
    pub async fn project_to_remove(&mut self, id: &ProjectId) -> Result<Option<Project>, StoreError> {
        self.step(async |conn| {
            // The project's keys lose it, so their rows are locked first; only the acting key's
            // lock comes before.
            api_key::lock_those_of_project(conn, id).await?;
            find(conn, id, " FOR UPDATE").await
        })
        .await
    }

    /// A project to change, locked; does not wait for changes inside it.
    pub async fn project_to_change(&mut self, id: &ProjectId) -> Result<Option<Project>, StoreError> {
        self.step(async |conn| find(conn, id, " FOR NO KEY UPDATE").await).await
    }

    /// Updates name and description.
    pub async fn set_project_texts(&mut self, project: &Project) -> Result<(), StoreError> {
        self.change(async |conn| {
            sqlx::query("UPDATE project SET name = $2, description = $3 WHERE id = $1")
                .bind(project.id.as_str())
                .bind(row::storable(&project.name).into_owned())
                .bind(row::storable(&project.description).into_owned())
                .execute(conn)
                .await?;
            Ok(())
        })
        .await
    }

    /// Adds a project; `false` if its id exists.
    pub async fn insert_project(&mut self, project: &Project) -> Result<bool, StoreError> {
        self.change(async |conn| insert(conn, project).await).await
    }

    /// Removes a project without deployments. A key limited to it alone then sees nothing.
    pub async fn remove_project(&mut self, id: &ProjectId) -> Result<(), StoreError> {
        self.change(async |conn| {
            // Cascades to its rows of API keys and to its alert channels.
            sqlx::query("DELETE FROM project WHERE id = $1").bind(id.as_str()).execute(&mut *conn).await?;
            alert::remove_of_project(conn, id).await?;
            ending::leave_project(conn, id).await
        })
        .await
    }

    /// The number of a project's deployments.
    pub async fn deployments_in(&mut self, id: &ProjectId) -> Result<u64, StoreError> {
        self.step(async |conn| deployments_in(conn, id).await).await
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

pub(crate) async fn find_unlocked(
    conn: &mut AnyConnection,
    id: &ProjectId,
) -> Result<Option<Project>, StoreError> {
    find(conn, id, "").await
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

async fn deployments_in(conn: &mut AnyConnection, id: &ProjectId) -> Result<u64, StoreError> {
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
