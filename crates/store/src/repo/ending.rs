//! What ends, and when its next rule applies. Deployments are listed after a change, by the node
//! that finds them in an index; [`lock::expiry`] lets one node at a time do this.

use sqlx::{AnyConnection, AssertSqlSafe};

use crate::{
    ApiKey, DeploymentId, Ending, EndingKind, EndingOwners, ListedEnding, NodeId, ProjectId, Reader,
    StoreError, Timestamp, Tx, VersionId,
    engine::{lock, row},
    model::ending::{kind, project, project_text},
    repo::{alert, known_kind::is_known_ending},
};

/// To whom it belongs: a deployment, an API key or a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndingOwner {
    name: String,
    project: Option<ProjectId>,
    kinds: &'static [EndingKind],
}

impl EndingOwner {
    /// Its newest upload.
    pub fn deployment(id: &DeploymentId, project: &ProjectId) -> Self {
        let kinds = &EndingKind::OF_UPLOADS;
        Self { name: id.to_string(), project: Some(project.clone()), kinds }
    }

    /// Its CRLs.
    pub fn crls_of(id: &DeploymentId, project: &ProjectId) -> Self {
        Self { kinds: &[EndingKind::Crl], ..Self::deployment(id, project) }
    }

    /// Itself. `project`: the only one that it sees.
    pub fn api_key(key: &ApiKey, project: Option<ProjectId>) -> Self {
        Self { name: key.to_string(), project, kinds: &[EndingKind::ApiKey] }
    }

    /// Its API's certificate.
    pub fn node(node: &NodeId) -> Self {
        Self { name: node.to_string(), project: None, kinds: &[EndingKind::ApiCertificate] }
    }
}

/// What a caller may see of [`ListedEnding`]s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndingScope {
    /// Everything.
    All,
    /// What an API key sees.
    Key {
        /// `None`: all.
        projects: Option<Vec<ProjectId>>,
        /// Itself.
        key: ApiKey,
        /// Whether it sees other API keys: those that see no project beside its own.
        other_keys: bool,
    },
}

const OWNERS_NAMED: usize = 20;
/// Counting more takes too long.
const OWNERS_COUNTED: u32 = 1_000;

/// Work of the expiry task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExpiryWork {
    /// Deployments are to be listed.
    pub listing: bool,
    /// Rules apply.
    pub rules: bool,
    /// Alerts are to be delivered.
    pub deliveries: bool,
}

/// The condition that the owner is there and has it still. A node of the release before removes
/// deployments and keys without their rows here.
pub(crate) const CURRENT: &str = "(e.kind = 'apiCertificate'
    OR (e.kind = 'apiKey' AND EXISTS (SELECT 1 FROM api_key k WHERE k.key = e.owner))
    OR (e.kind IN ('leaf', 'intermediate', 'clientCA')
        AND EXISTS (SELECT 1 FROM deployment d WHERE d.id = e.owner AND d.project = e.project
                    AND coalesce(d.ending_version, -1) = coalesce(d.tls_version, -1)))
    OR (e.kind = 'crl' AND EXISTS (SELECT 1 FROM deployment d JOIN crl c ON c.deployment = d.id
                                   WHERE d.id = e.owner AND d.project = e.project AND c.fingerprint = e.item)))";

const COLUMNS: &str =
    "e.number, e.owner, e.kind, e.item, e.project, e.subject, e.begins_at, e.ends_at FROM ending e";

const PAGE: &str = "e.ends_at <= $1 AND (e.ends_at, e.number) > ($2, $3)";
const IN_ORDER: &str = "ORDER BY e.ends_at, e.number LIMIT $4";

/// A page of endings: until when, after which end and number, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndingPage {
    /// The last end, included.
    pub until: Timestamp,
    /// The last one of the page before.
    pub after: Option<(Timestamp, i64)>,
    /// At most so many.
    pub limit: u32,
}

impl Reader {
    /// What ends, earliest first.
    pub async fn endings(
        &self,
        scope: &EndingScope,
        page: EndingPage,
    ) -> Result<Vec<ListedEnding>, StoreError> {
        self.run(async |conn| {
            let (projects, key, other_keys) = match scope {
                EndingScope::All => return page_of(conn, page, "TRUE", None).await,
                EndingScope::Key { projects, key, other_keys } => (projects, key, *other_keys),
            };
            let Some(projects) = projects else {
                return match other_keys {
                    true => page_of(conn, page, "TRUE", None).await,
                    false => {
                        let shown = "(e.kind <> 'apiKey' OR e.owner = $5)";
                        page_of(conn, page, shown, Some(key.as_str())).await
                    }
                };
            };
            let mut found = Vec::new();
            for project in projects {
                let shown = "e.project = $5 AND e.kind <> 'apiKey'";
                found.extend(page_of(conn, page, shown, Some(project.as_str())).await?);
                cut(&mut found, page.limit);
            }
            for key in keys(conn, key, other_keys, projects).await? {
                let shown = "e.owner = $5 AND e.kind = 'apiKey'";
                found.extend(page_of(conn, page, shown, Some(&key)).await?);
            }
            cut(&mut found, page.limit);
            Ok(found)
        })
        .await
    }

    /// Whether there is work for the expiry task.
    pub async fn expiry_work(&self, now: Timestamp) -> Result<ExpiryWork, StoreError> {
        self.run(async |conn| {
            let row = sqlx::query(
                "SELECT (SELECT count(*) FROM (SELECT 1 AS one FROM deployment
                             WHERE coalesce(ending_version, -1) <> coalesce(tls_version, -1) LIMIT 1) a) AS listing,
                        (SELECT count(*) FROM (SELECT 1 AS one FROM ending WHERE due_at <= $1 LIMIT 1) b) AS rules,
                        (SELECT count(*) FROM (SELECT 1 AS one FROM alert_delivery
                             WHERE state = 'pending' AND next_at <= $1 LIMIT 1) c) AS deliveries",
            )
            .bind(now.0)
            .fetch_one(conn)
            .await?;
            let some = |column| Ok::<_, StoreError>(row::integer(&row, column)? > 0);
            Ok(ExpiryWork {
                listing: some("listing")?,
                rules: some("rules")?,
                deliveries: some("deliveries")?,
            })
        })
        .await
    }
}

/// The first ones.
fn cut(found: &mut Vec<ListedEnding>, limit: u32) {
    found.sort_by_key(|ending| (ending.ending.ends_at, ending.number));
    found.truncate(limit as usize);
}

/// `name` is parameter $5 of `shown`.
async fn page_of(
    conn: &mut AnyConnection,
    page: EndingPage,
    shown: &str,
    name: Option<&str>,
) -> Result<Vec<ListedEnding>, StoreError> {
    let sql = format!("SELECT {COLUMNS} WHERE {PAGE} AND {shown} AND {CURRENT} {IN_ORDER}");
    let (ends_at, number) = page.after.unwrap_or((Timestamp(i64::MIN), 0));
    // Safe: fixed texts.
    let mut query = sqlx::query(AssertSqlSafe(sql))
        .bind(page.until.0)
        .bind(ends_at.0)
        .bind(number)
        .bind(i64::from(page.limit));
    if let Some(name) = name {
        query = query.bind(name.to_owned());
    }
    query.fetch_all(conn).await?.iter().map(ListedEnding::read).collect()
}

/// The API keys that a caller limited to `projects` sees: its own, and those of no other project.
async fn keys(
    conn: &mut AnyConnection,
    own: &ApiKey,
    other_keys: bool,
    projects: &[ProjectId],
) -> Result<Vec<String>, StoreError> {
    let mut keys = vec![own.to_string()];
    if other_keys {
        let sql = "SELECT p.key, p.project FROM api_key_project p JOIN api_key k ON k.key = p.key
                   WHERE k.expires_at IS NOT NULL ORDER BY p.key";
        let mut seen = std::collections::BTreeMap::<String, bool>::new();
        for row in &sqlx::query(sql).fetch_all(conn).await? {
            let is_seen = projects.contains(&row::project_id(row, "project")?);
            *seen.entry(row::text(row, "key")?).or_insert(true) &= is_seen;
        }
        let others = seen.into_iter().filter(|(key, is_seen)| *is_seen && *key != keys[0]);
        let others: Vec<String> = others.map(|(key, _)| key).collect();
        keys.extend(others);
    }
    Ok(keys)
}

impl Tx {
    /// Waits for other nodes' expiry tasks. First.
    pub async fn hold_expiry(&mut self) -> Result<(), StoreError> {
        self.step(async |conn| lock::expiry(conn).await).await
    }

    /// At most `limit` deployments whose newest upload is not listed, locked, with that upload.
    pub async fn unlisted(
        &mut self,
        limit: u32,
    ) -> Result<Vec<(DeploymentId, ProjectId, Option<VersionId>)>, StoreError> {
        self.step(async |conn| {
            // Waiting for one while others are locked could deadlock with a joining node.
            let lock = if lock::is_postgres(conn) { " FOR UPDATE SKIP LOCKED" } else { "" };
            let sql = format!(
                "SELECT id, project, tls_version FROM deployment
                 WHERE coalesce(ending_version, -1) <> coalesce(tls_version, -1) ORDER BY id LIMIT $1{lock}"
            );
            let rows = sqlx::query(AssertSqlSafe(sql)).bind(i64::from(limit)).fetch_all(conn).await?;
            rows.iter()
                .map(|row| {
                    let version = row::integer_or_null(row, "tls_version")?.map(VersionId);
                    Ok((row::deployment_id(row, "id")?, row::project_id(row, "project")?, version))
                })
                .collect()
        })
        .await
    }

    /// Marks a deployment's upload as listed.
    pub async fn set_listed(
        &mut self,
        id: &DeploymentId,
        version: Option<VersionId>,
    ) -> Result<(), StoreError> {
        self.step(async |conn| {
            sqlx::query("UPDATE deployment SET ending_version = $2 WHERE id = $1")
                .bind(id.as_str())
                .bind(version.map(|version| version.0))
                .execute(conn)
                .await?;
            Ok(())
        })
        .await
    }

    /// Replaces what is listed of an owner, each with when its next rule applies. What stays keeps
    /// its place; alerts of what goes are withdrawn.
    pub async fn set_endings(
        &mut self,
        owner: &EndingOwner,
        endings: &[(Ending, Option<Timestamp>)],
    ) -> Result<(), StoreError> {
        let now = self.now;
        self.step(async |conn| set(conn, owner, endings, now).await).await
    }

    /// At most `limit` endings whose rule applies by `now`, earliest first.
    pub async fn due_endings(&mut self, now: Timestamp, limit: u32) -> Result<Vec<ListedEnding>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} WHERE e.due_at <= $1 AND {CURRENT} ORDER BY e.due_at, e.number LIMIT $2"
        );
        self.step(async |conn| {
            let query = sqlx::query(AssertSqlSafe(sql)).bind(now.0).bind(i64::from(limit));
            query.fetch_all(conn).await?.iter().map(ListedEnding::read).collect()
        })
        .await
    }

    /// Endings by number after `after`, at most `limit`; none of a kind of a newer release.
    pub async fn endings_after(&mut self, after: i64, limit: u32) -> Result<Vec<ListedEnding>, StoreError> {
        let known = is_known_ending("e.kind");
        let sql = format!("SELECT {COLUMNS} WHERE e.number > $1 AND {known} ORDER BY e.number LIMIT $2");
        self.step(async |conn| {
            let query = sqlx::query(AssertSqlSafe(sql)).bind(after).bind(i64::from(limit));
            query.fetch_all(conn).await?.iter().map(ListedEnding::read).collect()
        })
        .await
    }

    /// Who has this certificate, in its project.
    pub async fn ending_owners(&mut self, of: &ListedEnding) -> Result<EndingOwners, StoreError> {
        self.step(async |conn| {
            let rows = sqlx::query(
                "SELECT owner FROM ending WHERE item = $1 AND kind = $2 AND project = $3 ORDER BY number LIMIT $4",
            )
            .bind(of.ending.item.as_str())
            .bind(of.ending.kind.as_str())
            .bind(project_text(of.project.as_ref()))
            .bind(i64::from(OWNERS_COUNTED))
            .fetch_all(conn)
            .await?;
            let named = rows.iter().take(OWNERS_NAMED).map(|row| row::text(row, "owner"));
            Ok(EndingOwners { named: named.collect::<Result<_, _>>()?, count: rows.len() as u64 })
        })
        .await
    }

    /// When its next rule applies. `false`: it was removed in between. Its removal waits from here
    /// on.
    pub async fn set_due(&mut self, ending: i64, due_at: Option<Timestamp>) -> Result<bool, StoreError> {
        self.step(async |conn| {
            let done = sqlx::query("UPDATE ending SET due_at = $2 WHERE number = $1")
                .bind(ending)
                .bind(due_at.map(|due| due.0))
                .execute(conn)
                .await?;
            Ok(done.rows_affected() > 0)
        })
        .await
    }
}

pub(crate) async fn set(
    conn: &mut AnyConnection,
    owner: &EndingOwner,
    endings: &[(Ending, Option<Timestamp>)],
    now: Timestamp,
) -> Result<(), StoreError> {
    // Two owners of one certificate that lose it at once must see each other.
    lock::expiry(conn).await?;
    // In the order of the expiry task, which locks them, too.
    let rows = sqlx::query("SELECT number, kind, item, project FROM ending WHERE owner = $1 ORDER BY number")
        .bind(owner.name.as_str())
        .fetch_all(&mut *conn)
        .await?;
    let wanted = |of: EndingKind, item: &str| {
        endings.iter().any(|(ending, _)| ending.kind == of && ending.item == item)
    };
    let mut kept = Vec::new();
    for row in &rows {
        // A kind of a newer release.
        let Ok(kind) = kind(row) else { continue };
        let (item, of) = (row::text(row, "item")?, project(row)?);
        if !owner.kinds.contains(&kind) {
            continue;
        }
        // The id may have been another project's.
        if wanted(kind, &item) && of == owner.project {
            kept.push((kind, item));
        } else {
            remove(conn, row::integer(row, "number")?, of.as_ref(), kind, &item, now).await?;
        }
    }
    for (ending, due_at) in endings {
        if !kept.iter().any(|(kind, item)| (*kind, item) == (ending.kind, &ending.item)) {
            insert(conn, owner, ending, *due_at).await?;
        }
    }
    Ok(())
}

async fn insert(
    conn: &mut AnyConnection,
    owner: &EndingOwner,
    ending: &Ending,
    due_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO ending (owner, kind, item, project, subject, begins_at, ends_at, due_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (owner, kind, item) DO NOTHING",
    )
    .bind(owner.name.as_str())
    .bind(ending.kind.as_str())
    .bind(ending.item.as_str())
    .bind(project_text(owner.project.as_ref()))
    .bind(row::storable(&ending.subject).into_owned())
    .bind(ending.begins_at.0)
    .bind(ending.ends_at.0)
    .bind(due_at.map(|due| due.0))
    .execute(conn)
    .await?;
    Ok(())
}

/// Another owner of the project may have the same certificate.
async fn remove(
    conn: &mut AnyConnection,
    number: i64,
    project: Option<&ProjectId>,
    kind: EndingKind,
    item: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM ending WHERE number = $1").bind(number).execute(&mut *conn).await?;
    let left = sqlx::query(
        "SELECT 1 FROM ending WHERE item = $1 AND kind = $2 AND project = $3 ORDER BY number LIMIT 1",
    )
    .bind(item)
    .bind(kind.as_str())
    .bind(project_text(project))
    .fetch_optional(&mut *conn)
    .await?;
    match left {
        Some(_) => Ok(()),
        None => alert::withdraw(conn, project, kind, item, now).await,
    }
}

/// What is left of a removed project: keys that it limited.
pub(crate) async fn leave_project(conn: &mut AnyConnection, project: &ProjectId) -> Result<(), StoreError> {
    sqlx::query("UPDATE ending SET project = '' WHERE project = $1")
        .bind(project.as_str())
        .execute(conn)
        .await?;
    Ok(())
}

pub(crate) async fn remove_deployment(
    conn: &mut AnyConnection,
    id: &DeploymentId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let owner = EndingOwner { name: id.to_string(), project: None, kinds: &EndingKind::OF_DEPLOYMENTS };
    set(conn, &owner, &[], now).await?;
    alert::withdraw_stopped(conn, id, None, now).await?;
    alert::withdraw_unused_of(conn, id, now).await
}

/// A node that is not listed any more.
pub(crate) async fn remove_node(
    conn: &mut AnyConnection,
    node: &NodeId,
    now: Timestamp,
) -> Result<(), StoreError> {
    set(conn, &EndingOwner::node(node), &[], now).await
}
