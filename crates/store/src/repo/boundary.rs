//! Allowed upstreams and reserved host names of projects, decided under the lock of claims. Nodes
//! cache all boundaries; a stamp, random with each change, identifies them in any history of the
//! store.

use certward_pki::HostName;
use sqlx::{AnyConnection, AssertSqlSafe};

use crate::{
    Boundary, DeploymentId, HostSuffix, ProjectId, Reader, StoreError, Tx, UpstreamAllow,
    engine::{lock, row},
    model::host_suffix,
    repo::{feed, host_suffix as host_suffix_rows, project},
    sealed::random,
};

/// Why suffixes are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SuffixRefused {
    /// Overlaps another project's suffix.
    Taken(HostSuffix),
    /// Existing hosts conflict.
    InUse {
        /// The project's hosts under none of them.
        outside: u64,
        /// Other projects' hosts under, or covering, one.
        of_others: u64,
    },
}

/// All projects' boundaries, for a node.
#[derive(Debug, Clone, Default)]
pub struct Boundaries {
    /// Their stamp.
    pub stamp: Stamp,
    /// Per restricted project; nothing is allowed if unreadable.
    pub upstream_allow: Vec<(ProjectId, UpstreamAllow)>,
    /// Reserved names and their projects.
    pub host_suffixes: Vec<(HostSuffix, ProjectId)>,
}

/// Identifies a set of boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp(i64);

const STAMP: &str = "boundary";

impl Reader {
    /// The boundaries of all projects; `None` if still those of `known`.
    pub async fn boundaries(&self, known: Option<Stamp>) -> Result<Option<Boundaries>, StoreError> {
        self.run(async |conn| unless_known(conn, known).await).await
    }
}

impl Tx {
    /// Sets a project's boundary, if allowed, with a row of the feed. After
    /// [`Tx::project_to_change`].
    pub async fn set_boundary(
        &mut self,
        id: &ProjectId,
        boundary: &Boundary,
    ) -> Result<Result<(), SuffixRefused>, StoreError> {
        let now = self.now;
        self.change(async |conn| {
            // A deployment of the project's name, if any, is merely reloaded.
            let named = DeploymentId::parse(id.as_str()).map_err(|_| row::unreadable("project"))?;
            // No generation may be drawn while a node joins.
            lock::nodes_stay(conn).await?;
            feed::draw(conn, &named, now).await?;
            lock::hosts(conn).await?;
            if let Some(refused) = refusal(conn, id, &boundary.host_suffixes).await? {
                return Ok(Err(refused));
            }
            write(conn, id, boundary).await?;
            let mut stamp = [0; 8];
            random::fill(&mut stamp);
            // 0 is a store without boundaries.
            set_stamp(conn, Stamp((i64::from_ne_bytes(stamp) & i64::MAX).max(1))).await?;
            Ok(Ok(()))
        })
        .await
    }

    /// A project's boundary, under the lock of claims. After deployments and the generation.
    pub async fn boundary(&mut self, project: &ProjectId) -> Result<Boundary, StoreError> {
        self.step(async |conn| {
            lock::hosts(conn).await?;
            let found = project::find_unlocked(conn, project).await?;
            Ok(found.map(|found| found.boundary).unwrap_or_default())
        })
        .await
    }

    /// Whether a foreign suffix covers the host, or is covered by it.
    pub async fn is_under_anothers_suffix(
        &mut self,
        host: &HostName,
        project: &ProjectId,
    ) -> Result<bool, StoreError> {
        self.step(async |conn| {
            let names: Vec<&str> = host_suffix::ancestors(host).collect();
            let covered = host.parent().filter(|_| host.is_wildcard());
            let sql = format!(
                "SELECT suffix FROM host_suffix
                 WHERE project <> $1 AND (parent = $2 OR suffix IN ({})) LIMIT 1",
                places(3, names.len())
            );
            // Safe: numbered parameters. No suffix has the parent `*`.
            let mut query =
                sqlx::query(AssertSqlSafe(sql)).bind(project.as_str()).bind(covered.unwrap_or("*"));
            for name in names {
                query = query.bind(name);
            }
            Ok(query.fetch_optional(conn).await?.is_some())
        })
        .await
    }
}

async fn refusal(
    conn: &mut AnyConnection,
    id: &ProjectId,
    suffixes: &[HostSuffix],
) -> Result<Option<SuffixRefused>, StoreError> {
    for suffix in suffixes {
        if overlaps_anothers(conn, id, suffix).await? {
            return Ok(Some(SuffixRefused::Taken(suffix.clone())));
        }
    }
    if suffixes.is_empty() {
        return Ok(None);
    }
    let outside = count_hosts(conn, id, suffixes, false).await?;
    let of_others = count_hosts(conn, id, suffixes, true).await?;
    Ok((outside + of_others > 0).then_some(SuffixRefused::InUse { outside, of_others }))
}

async fn overlaps_anothers(
    conn: &mut AnyConnection,
    id: &ProjectId,
    suffix: &HostSuffix,
) -> Result<bool, StoreError> {
    let names: Vec<&str> = suffix.ancestors().collect();
    let sql = format!(
        "SELECT suffix FROM host_suffix
         WHERE project <> $1 AND (suffix LIKE $2 ESCAPE '\\' OR suffix IN ({})) LIMIT 1",
        places(3, names.len())
    );
    // Safe: numbered parameters.
    let mut query = sqlx::query(AssertSqlSafe(sql)).bind(id.as_str()).bind(under(suffix));
    for name in names {
        query = query.bind(name);
    }
    Ok(query.fetch_optional(conn).await?.is_some())
}

/// Own hosts under none of the suffixes, or others' under or covering one. Scans all hosts; only
/// admins cause it.
async fn count_hosts(
    conn: &mut AnyConnection,
    id: &ProjectId,
    suffixes: &[HostSuffix],
    of_others: bool,
) -> Result<u64, StoreError> {
    // Only for other projects does a wildcard that covers the suffix count.
    let places_each = if of_others { 3 } else { 2 };
    let covered = |at: usize| {
        let first = 2 + at * places_each;
        let wildcard = if of_others { format!(" OR name = ${}", first + 2) } else { String::new() };
        format!("name = ${first} OR name LIKE ${} ESCAPE '\\'{wildcard}", first + 1)
    };
    let covered = (0..suffixes.len()).map(covered).collect::<Vec<_>>().join(" OR ");
    let whose = match of_others {
        true => format!("project <> $1 AND ({covered})"),
        false => format!("project = $1 AND NOT ({covered})"),
    };
    // Safe: numbered parameters.
    let mut query =
        sqlx::query(AssertSqlSafe(format!("SELECT count(*) AS n FROM host WHERE {whose}"))).bind(id.as_str());
    for suffix in suffixes {
        query = query.bind(suffix.as_str()).bind(under(suffix));
        if of_others {
            // A one-label suffix has no sibling wildcard.
            query =
                query.bind(suffix.parent().map_or_else(|| "*".to_owned(), |parent| format!("*.{parent}")));
        }
    }
    let row = query.fetch_one(conn).await?;
    u64::try_from(row::integer(&row, "n")?).map_err(|_| row::unreadable("n"))
}

/// The LIKE pattern; of a name's characters only `_` is special there.
fn under(suffix: &HostSuffix) -> String {
    format!("%.{}", suffix.as_str().replace('_', "\\_"))
}

fn places(from: usize, count: usize) -> String {
    (from..from + count).map(|place| format!("${place}")).collect::<Vec<_>>().join(", ")
}

async fn write(conn: &mut AnyConnection, id: &ProjectId, boundary: &Boundary) -> Result<(), StoreError> {
    sqlx::query("UPDATE project SET upstream_allow = $2 WHERE id = $1")
        .bind(id.as_str())
        .bind(boundary.upstream_allow.as_ref().map(ToString::to_string))
        .execute(&mut *conn)
        .await?;
    sqlx::query("DELETE FROM host_suffix WHERE project = $1").bind(id.as_str()).execute(&mut *conn).await?;
    for (position, suffix) in (0_i64..).zip(&boundary.host_suffixes) {
        host_suffix_rows::write(conn, suffix, id, position).await?;
    }
    Ok(())
}

async fn set_stamp(conn: &mut AnyConnection, stamp: Stamp) -> Result<(), StoreError> {
    sqlx::query("UPDATE counter SET value = $2 WHERE name = $1")
        .bind(STAMP)
        .bind(stamp.0)
        .execute(conn)
        .await?;
    Ok(())
}

pub(crate) async fn stamp(conn: &mut AnyConnection) -> Result<Stamp, StoreError> {
    let row = sqlx::query("SELECT value FROM counter WHERE name = $1").bind(STAMP).fetch_one(conn).await?;
    Ok(Stamp(row::integer(&row, "value")?))
}

pub(crate) async fn unless_known(
    conn: &mut AnyConnection,
    known: Option<Stamp>,
) -> Result<Option<Boundaries>, StoreError> {
    // First: a concurrent change is then read again.
    let stamp = stamp(conn).await?;
    if known == Some(stamp) {
        return Ok(None);
    }
    let rows =
        sqlx::query("SELECT id, upstream_allow FROM project WHERE upstream_allow IS NOT NULL ORDER BY id")
            .fetch_all(&mut *conn)
            .await?;
    let mut allow = Vec::with_capacity(rows.len());
    for row in &rows {
        let id = row::project_id(row, "id")?;
        match project::upstream_allow(row) {
            Ok(list) => allow.extend(list.map(|list| (id, list))),
            Err(_) => {
                tracing::warn!(project.id = %id, "the project's upstreamAllow cannot be read: its upstreams are not dialled");
                allow.push((id, UpstreamAllow::nothing()));
            }
        }
    }
    Ok(Some(Boundaries { stamp, upstream_allow: allow, host_suffixes: host_suffix_rows::all(conn).await? }))
}

/// For a replica.
pub(crate) async fn replace(conn: &mut AnyConnection, boundaries: &Boundaries) -> Result<(), StoreError> {
    sqlx::query("UPDATE project SET upstream_allow = NULL").execute(&mut *conn).await?;
    sqlx::query("DELETE FROM host_suffix").execute(&mut *conn).await?;
    for (id, list) in &boundaries.upstream_allow {
        project::ensure(conn, id).await?;
        sqlx::query("UPDATE project SET upstream_allow = $2 WHERE id = $1")
            .bind(id.as_str())
            .bind(list.to_string())
            .execute(&mut *conn)
            .await?;
    }
    for (position, (suffix, id)) in (0_i64..).zip(&boundaries.host_suffixes) {
        project::ensure(conn, id).await?;
        host_suffix_rows::write(conn, suffix, id, position).await?;
    }
    set_stamp(conn, boundaries.stamp).await
}
