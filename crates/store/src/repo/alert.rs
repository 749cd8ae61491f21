//! Alerts: a rule that applied to something that ends, once for each in a project; a change that
//! was stopped, once for each deployment and leaf; a client CA that no device uses, once for each
//! deployment.

use sqlx::{AnyConnection, AssertSqlSafe, any::AnyRow};

use crate::{
    AlertCause, AlertId, AlertKind, AppliedRule, DeploymentId, EndingKind, EndingOwners, ListedEnding,
    ProjectId, Reader, StoreError, Timestamp, Tx,
    engine::row,
    model::ending,
    repo::{alert_delivery, known_kind::is_known_alert},
    sealed::random,
};

/// Alerts older than this are removed: 400 days.
const KEPT_MS: i64 = 400 * 24 * 60 * 60 * 1000;

/// What was found, and is sent to the channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Its id.
    pub id: AlertId,
    /// `None`: the operator's.
    pub project: Option<ProjectId>,
    /// Why it was recorded.
    pub cause: AlertCause,
    /// The certificate's fingerprint, or the API key.
    pub item: String,
    /// The certificate's subject, or the API key's name.
    pub subject: String,
    /// The first 20 owners: deployments, the API key or nodes. Of a stopped change its deployment.
    pub owners: Vec<String>,
    /// How many there are, counted up to 1,000.
    pub owner_count: u64,
    /// When it was found.
    pub at: Timestamp,
    /// When the last owner replaced what ends, or the stopped change was made after all.
    pub withdrawn_at: Option<Timestamp>,
}

/// A strict change that was refused for its impact on devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoppedChange {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Its project.
    pub project: ProjectId,
    /// The new leaf's fingerprint.
    pub leaf: String,
    /// The new leaf's subject.
    pub subject: String,
    /// What the alert says of it: text that the store does not read.
    pub detail: String,
}

/// A client CA that no device has used for long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusedClientCa {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Its project.
    pub project: ProjectId,
    /// The client CA's fingerprint.
    pub fingerprint: String,
    /// The client CA's subject.
    pub subject: String,
    /// What the alert says of it: text that the store does not read.
    pub detail: String,
}

/// An alert about one deployment, once for each item.
struct OfDeployment<'a> {
    kind: AlertKind,
    deployment: &'a DeploymentId,
    project: &'a ProjectId,
    item: &'a str,
    subject: &'a str,
    detail: &'a str,
}

const COLUMNS: &str =
    "SELECT id, project, kind, item, rule, subject, begins_at, ends_at, owners, owner_count, at,
    clock_jump, withdrawn_at, detail FROM alert";

impl Alert {
    pub(crate) fn read(row: &AnyRow) -> Result<Self, StoreError> {
        let owners = row::text(row, "owners")?;
        Ok(Self {
            id: AlertId::parse(&row::text(row, "id")?).map_err(|_| row::unreadable("id"))?,
            project: ending::project(row)?,
            cause: cause(row)?,
            item: row::text(row, "item")?,
            subject: row::text(row, "subject")?,
            owners: serde_json::from_str(&owners).map_err(|_| row::unreadable("owners"))?,
            owner_count: row::count(row, "owner_count")?,
            at: Timestamp(row::integer(row, "at")?),
            withdrawn_at: row::integer_or_null(row, "withdrawn_at")?.map(Timestamp),
        })
    }
}

fn cause(row: &AnyRow) -> Result<AlertCause, StoreError> {
    let kind = AlertKind::parse(&row::text(row, "kind")?).ok_or_else(|| row::unreadable("kind"))?;
    Ok(match kind {
        AlertKind::Ending(kind) => AlertCause::Ending(AppliedRule {
            kind,
            rule: row::text(row, "rule")?,
            begins_at: Timestamp(row::integer(row, "begins_at")?),
            ends_at: Timestamp(row::integer(row, "ends_at")?),
            clock_jump: row::integer(row, "clock_jump")?,
        }),
        AlertKind::StoppedChange => AlertCause::StoppedChange { detail: row::text(row, "detail")? },
        AlertKind::UnusedClientCa => AlertCause::UnusedClientCa { detail: row::text(row, "detail")? },
    })
}

/// A page of alerts, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertPage {
    /// `None`: of all projects and the operator's.
    pub projects: Option<Vec<ProjectId>>,
    /// The last one of the page before.
    pub before: Option<(Timestamp, AlertId)>,
    /// At most so many.
    pub limit: u32,
}

impl Reader {
    /// Alerts, newest first.
    pub async fn alerts(&self, page: &AlertPage) -> Result<Vec<Alert>, StoreError> {
        let (at, id) = match &page.before {
            Some((at, id)) => (at.0, id.as_str()),
            None => (i64::MAX, ""),
        };
        let limit = i64::from(page.limit);
        let page_of = |shown: &str| {
            let known = is_known_alert("kind");
            format!(
                "{COLUMNS} WHERE {shown} AND {known} AND (at, id) < ($1, $2) ORDER BY at DESC, id DESC LIMIT $3"
            )
        };
        self.run(async |conn| {
            let Some(projects) = &page.projects else {
                let sql = AssertSqlSafe(page_of("TRUE"));
                let rows = sqlx::query(sql).bind(at).bind(id).bind(limit).fetch_all(conn).await?;
                return rows.iter().map(Alert::read).collect();
            };
            let mut found = Vec::new();
            for project in projects {
                let sql = AssertSqlSafe(page_of("project = $4"));
                let query = sqlx::query(sql).bind(at).bind(id).bind(limit).bind(project.as_str());
                for row in &query.fetch_all(&mut *conn).await? {
                    found.push(Alert::read(row)?);
                }
                found.sort_by(|a, b| (b.at, &b.id).cmp(&(a.at, &a.id)));
                found.truncate(page.limit as usize);
            }
            Ok(found)
        })
        .await
    }

    /// One alert.
    pub async fn alert(&self, id: &AlertId) -> Result<Option<Alert>, StoreError> {
        self.run(async |conn| {
            let sql = AssertSqlSafe(format!("{COLUMNS} WHERE id = $1"));
            let row = sqlx::query(sql).bind(id.as_str()).fetch_optional(conn).await?;
            row.as_ref().map(Alert::read).transpose()
        })
        .await
    }

    /// Of a deployment, the fingerprints of the client CAs of which an alert says that no device
    /// uses them, and that is not withdrawn.
    pub async fn unused_client_cas(
        &self,
        project: &ProjectId,
        deployment: &DeploymentId,
    ) -> Result<Vec<String>, StoreError> {
        self.run(async |conn| unused_client_cas(conn, project, deployment).await).await
    }

    /// Deployments with such an alert.
    pub async fn deployments_with_unused_client_cas(&self) -> Result<Vec<DeploymentId>, StoreError> {
        self.run(async |conn| {
            let rows = sqlx::query(
                "SELECT DISTINCT rule FROM alert WHERE kind = 'unusedClientCA' AND withdrawn_at IS NULL",
            )
            .fetch_all(conn)
            .await?;
            rows.iter().map(|row| row::deployment_id(row, "rule")).collect()
        })
        .await
    }

    /// Whether an alert of this change is recorded, and not withdrawn.
    pub async fn has_stopped_change(
        &self,
        project: &ProjectId,
        deployment: &DeploymentId,
        leaf: &str,
    ) -> Result<bool, StoreError> {
        self.run(async |conn| {
            let row = sqlx::query(
                "SELECT id FROM alert WHERE project = $1 AND kind = 'stoppedChange' AND item = $2 AND rule = $3
                     AND withdrawn_at IS NULL",
            )
            .bind(project.as_str())
            .bind(leaf)
            .bind(deployment.as_str())
            .fetch_optional(conn)
            .await?;
            Ok(row.is_some())
        })
        .await
    }
}

impl Tx {
    /// Records that a rule applies, with a delivery to each channel. `None`: it is recorded
    /// already. A withdrawn one is recorded again; what was delivered is not sent again.
    pub async fn record_alert(
        &mut self,
        ending: &ListedEnding,
        owners: &EndingOwners,
        rule: &str,
        at: Timestamp,
        clock_jump: i64,
    ) -> Result<Option<Alert>, StoreError> {
        let project = ending.project.as_ref();
        self.step(async |conn| {
            let named = serde_json::to_string(&owners.named)
                .map_err(|_| StoreError::corrupt("the owners of an alert"))?;
            let of = &ending.ending;
            let done = sqlx::query(
                "INSERT INTO alert (id, project, kind, item, rule, subject, begins_at, ends_at, owners, owner_count,
                                    at, clock_jump)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
                 ON CONFLICT (project, kind, item, rule) DO UPDATE SET withdrawn_at = NULL,
                     owners = excluded.owners, owner_count = excluded.owner_count, at = excluded.at,
                     clock_jump = excluded.clock_jump
                 WHERE alert.withdrawn_at IS NOT NULL",
            )
            .bind(random::name())
            .bind(ending::project_text(project))
            .bind(of.kind.as_str())
            .bind(of.item.as_str())
            .bind(rule)
            .bind(row::storable(&of.subject).into_owned())
            .bind(of.begins_at.0)
            .bind(of.ends_at.0)
            .bind(named)
            .bind(i64::try_from(owners.count).unwrap_or(i64::MAX))
            .bind(at.0)
            .bind(clock_jump)
            .execute(&mut *conn)
            .await?;
            if done.rows_affected() == 0 {
                return Ok(None);
            }
            let kind = AlertKind::Ending(of.kind);
            let alert = find(conn, ending::project_text(project), kind, &of.item, rule).await?;
            alert_delivery::insert(conn, &alert.id, project, at).await?;
            alert_delivery::supersede(conn, &alert.id).await?;
            Ok(Some(alert))
        })
        .await
    }

    /// Records a stopped change, with a delivery to each channel. `None`: it is recorded already. A
    /// withdrawn one is recorded again; what was delivered is not sent again.
    pub async fn record_stopped_change(
        &mut self,
        stopped: &StoppedChange,
    ) -> Result<Option<Alert>, StoreError> {
        let now = self.now;
        let StoppedChange { deployment, project, leaf, subject, detail } = stopped;
        let kind = AlertKind::StoppedChange;
        let alert = OfDeployment { kind, deployment, project, item: leaf, subject, detail };
        self.step(async |conn| record_of_deployment(conn, &alert, now).await).await
    }

    /// Records a client CA that no device uses, with a delivery to each channel. `None` as of
    /// [`Tx::record_stopped_change`].
    pub async fn record_unused_client_ca(
        &mut self,
        unused: &UnusedClientCa,
    ) -> Result<Option<Alert>, StoreError> {
        let now = self.now;
        let UnusedClientCa { deployment, project, fingerprint, subject, detail } = unused;
        let kind = AlertKind::UnusedClientCa;
        let alert = OfDeployment { kind, deployment, project, item: fingerprint, subject, detail };
        self.step(async |conn| record_of_deployment(conn, &alert, now).await).await
    }

    /// Of a deployment, only client CAs of these fingerprints are unused: nothing more is sent of
    /// others.
    pub async fn withdraw_used_client_cas(
        &mut self,
        project: &ProjectId,
        deployment: &DeploymentId,
        unused: &[String],
    ) -> Result<(), StoreError> {
        let now = self.now;
        let open = self.step(async |conn| unused_client_cas(conn, project, deployment).await).await?;
        for used in open.iter().filter(|open| !unused.contains(open)) {
            self.step(async |conn| withdraw_unused(conn, (project, deployment), used, now).await).await?;
        }
        Ok(())
    }

    /// The leaf was accepted after all: nothing more is sent of its stopped change.
    pub async fn withdraw_stopped_change(
        &mut self,
        deployment: &DeploymentId,
        leaf: &str,
    ) -> Result<(), StoreError> {
        let now = self.now;
        self.step(async |conn| withdraw_stopped(conn, deployment, Some(leaf), now).await).await
    }

    /// Removes alerts about what ends that were recorded after `now`, by a clock that was ahead,
    /// and brings back the attempts that it postponed. Changes that were stopped stay stopped.
    pub async fn remove_alerts_after(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.step(async |conn| {
            let sql = "DELETE FROM alert WHERE at > $1 AND kind <> 'stoppedChange'";
            sqlx::query(sql).bind(now.0).execute(&mut *conn).await?;
            alert_delivery::bring_back(conn, now).await
        })
        .await
    }
}

async fn record_of_deployment(
    conn: &mut AnyConnection,
    alert: &OfDeployment<'_>,
    now: Timestamp,
) -> Result<Option<Alert>, StoreError> {
    let OfDeployment { kind, deployment, project, item, subject, detail } = alert;
    let done = sqlx::query(
        "INSERT INTO alert (id, project, kind, item, rule, subject, begins_at, ends_at, owners, owner_count,
                            at, clock_jump, detail)
         VALUES ($1, $2, $3, $4, $5, $6, 0, 0, $7, 1, $8, 0, $9)
         ON CONFLICT (project, kind, item, rule) DO UPDATE SET withdrawn_at = NULL, at = excluded.at,
             detail = excluded.detail
         WHERE alert.withdrawn_at IS NOT NULL",
    )
    .bind(random::name())
    .bind(project.as_str())
    .bind(kind.as_str())
    .bind(*item)
    .bind(deployment.as_str())
    .bind(row::storable(subject).into_owned())
    .bind(serde_json::json!([deployment.as_str()]).to_string())
    .bind(now.0)
    .bind(row::storable(detail).into_owned())
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    let alert = find(conn, project.as_str(), *kind, item, deployment.as_str()).await?;
    alert_delivery::insert(conn, &alert.id, Some(project), now).await?;
    Ok(Some(alert))
}

/// Fingerprints of those that an alert says no device uses.
async fn unused_client_cas(
    conn: &mut AnyConnection,
    project: &ProjectId,
    deployment: &DeploymentId,
) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query(
        "SELECT item FROM alert WHERE project = $1 AND kind = 'unusedClientCA' AND rule = $2
             AND withdrawn_at IS NULL",
    )
    .bind(project.as_str())
    .bind(deployment.as_str())
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| row::text(row, "item")).collect()
}

async fn withdraw_unused(
    conn: &mut AnyConnection,
    (project, deployment): (&ProjectId, &DeploymentId),
    item: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let alert = find(conn, project.as_str(), AlertKind::UnusedClientCa, item, deployment.as_str()).await?;
    alert_delivery::cancel_alert(conn, &alert.id).await?;
    sqlx::query("UPDATE alert SET withdrawn_at = $2 WHERE id = $1")
        .bind(alert.id.as_str())
        .bind(now.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// Of a deployment that is removed.
pub(crate) async fn withdraw_unused_of(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let rows = sqlx::query(
        "UPDATE alert SET withdrawn_at = $2 WHERE kind = 'unusedClientCA' AND rule = $1 AND withdrawn_at IS NULL
         RETURNING id",
    )
    .bind(deployment.as_str())
    .bind(now.0)
    .fetch_all(&mut *conn)
    .await?;
    for row in &rows {
        let id = AlertId::parse(&row::text(row, "id")?).map_err(|_| row::unreadable("id"))?;
        alert_delivery::cancel_alert(conn, &id).await?;
    }
    Ok(())
}

async fn find(
    conn: &mut AnyConnection,
    project: &str,
    kind: AlertKind,
    item: &str,
    rule: &str,
) -> Result<Alert, StoreError> {
    let sql = format!("{COLUMNS} WHERE project = $1 AND kind = $2 AND item = $3 AND rule = $4");
    let query = sqlx::query(AssertSqlSafe(sql)).bind(project).bind(kind.as_str()).bind(item).bind(rule);
    Alert::read(&query.fetch_one(conn).await?)
}

/// Of a deployment: all, or that of one leaf.
pub(crate) async fn withdraw_stopped(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    leaf: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let leaf = leaf.unwrap_or_default();
    alert_delivery::cancel_stopped(conn, deployment, leaf).await?;
    sqlx::query(
        "UPDATE alert SET withdrawn_at = $3
         WHERE kind = 'stoppedChange' AND rule = $1 AND ($2 = '' OR item = $2) AND withdrawn_at IS NULL",
    )
    .bind(deployment.as_str())
    .bind(leaf)
    .bind(now.0)
    .execute(conn)
    .await?;
    Ok(())
}

/// What ends was replaced: nothing more is sent of it.
pub(crate) async fn withdraw(
    conn: &mut AnyConnection,
    project: Option<&ProjectId>,
    kind: EndingKind,
    item: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let project = ending::project_text(project);
    alert_delivery::cancel(conn, project, kind, item).await?;
    sqlx::query(
        "UPDATE alert SET withdrawn_at = $4
         WHERE project = $1 AND kind = $2 AND item = $3 AND withdrawn_at IS NULL",
    )
    .bind(project)
    .bind(kind.as_str())
    .bind(item)
    .bind(now.0)
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns whether more may remain.
pub(crate) async fn prune(conn: &mut AnyConnection, now: Timestamp, limit: u32) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "DELETE FROM alert WHERE id IN (SELECT id FROM alert WHERE at <= $1 ORDER BY at, id LIMIT $2)",
    )
    .bind(now.0.saturating_sub(KEPT_MS))
    .bind(i64::from(limit))
    .execute(conn)
    .await?;
    Ok(done.rows_affected() >= u64::from(limit))
}

pub(crate) async fn remove_of_project(
    conn: &mut AnyConnection,
    project: &ProjectId,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM alert WHERE project = $1").bind(project.as_str()).execute(conn).await?;
    Ok(())
}
