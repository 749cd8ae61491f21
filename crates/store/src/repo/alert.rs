//! Alerts: a rule that applied to something that ends, once for each in a project.

use sqlx::{AnyConnection, any::AnyRow};

use crate::{
    AlertId, EndingKind, EndingOwners, ListedEnding, ProjectId, Reader, StoreError, Timestamp, Tx,
    engine::row, model::ending, repo::alert_delivery, sealed::random,
};

/// Alerts older than this are removed: 400 days.
const KEPT_MS: i64 = 400 * 24 * 60 * 60 * 1000;

/// A rule that applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Its id.
    pub id: AlertId,
    /// `None`: the operator's.
    pub project: Option<ProjectId>,
    /// What kind of thing ends.
    pub kind: EndingKind,
    /// The certificate's fingerprint, or the API key.
    pub item: String,
    /// The rule, such as `1/10`, `7d` or `end`.
    pub rule: String,
    /// The certificate's subject, or the API key's name.
    pub subject: String,
    /// notBefore, or the creation.
    pub begins_at: Timestamp,
    /// notAfter, or the end.
    pub ends_at: Timestamp,
    /// The first 20 owners: deployments, the API key or nodes.
    pub owners: Vec<String>,
    /// How many there are, counted up to 1,000.
    pub owner_count: u64,
    /// When the rule was found to apply.
    pub at: Timestamp,
    /// By how many milliseconds the clock had jumped just before; 0 for none.
    pub clock_jump: i64,
    /// When the last owner replaced it.
    pub withdrawn_at: Option<Timestamp>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, project, kind, item, rule, subject, begins_at, ends_at, owners, owner_count, at, clock_jump, ",
            "withdrawn_at FROM alert ",
            $rest
        )
    };
}

impl Alert {
    pub(crate) fn read(row: &AnyRow) -> Result<Self, StoreError> {
        let owners = row::text(row, "owners")?;
        Ok(Self {
            id: AlertId::parse(&row::text(row, "id")?).map_err(|_| row::unreadable("id"))?,
            project: ending::project(row)?,
            kind: ending::kind(row)?,
            item: row::text(row, "item")?,
            rule: row::text(row, "rule")?,
            subject: row::text(row, "subject")?,
            begins_at: Timestamp(row::integer(row, "begins_at")?),
            ends_at: Timestamp(row::integer(row, "ends_at")?),
            owners: serde_json::from_str(&owners).map_err(|_| row::unreadable("owners"))?,
            owner_count: u64::try_from(row::integer(row, "owner_count")?)
                .map_err(|_| row::unreadable("owner_count"))?,
            at: Timestamp(row::integer(row, "at")?),
            clock_jump: row::integer(row, "clock_jump")?,
            withdrawn_at: row::integer_or_null(row, "withdrawn_at")?.map(Timestamp),
        })
    }
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
        self.run(async |conn| {
            let Some(projects) = &page.projects else {
                let sql = select!("WHERE (at, id) < ($1, $2) ORDER BY at DESC, id DESC LIMIT $3");
                let rows = sqlx::query(sql).bind(at).bind(id).bind(limit).fetch_all(conn).await?;
                return rows.iter().map(Alert::read).collect();
            };
            let mut found = Vec::new();
            for project in projects {
                let sql =
                    select!("WHERE project = $4 AND (at, id) < ($1, $2) ORDER BY at DESC, id DESC LIMIT $3");
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
            let row = sqlx::query(select!("WHERE id = $1")).bind(id.as_str()).fetch_optional(conn).await?;
            row.as_ref().map(Alert::read).transpose()
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
            let found = sqlx::query(select!("WHERE project = $1 AND kind = $2 AND item = $3 AND rule = $4"))
                .bind(ending::project_text(project))
                .bind(of.kind.as_str())
                .bind(of.item.as_str())
                .bind(rule)
                .fetch_one(&mut *conn)
                .await?;
            let alert = Alert::read(&found)?;
            alert_delivery::insert(conn, &alert.id, project, at).await?;
            alert_delivery::supersede(conn, &alert.id).await?;
            Ok(Some(alert))
        })
        .await
    }

    /// Removes alerts that were recorded after `now`, by a clock that was ahead, and brings back
    /// the attempts that it postponed.
    pub async fn remove_alerts_after(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.step(async |conn| {
            sqlx::query("DELETE FROM alert WHERE at > $1").bind(now.0).execute(&mut *conn).await?;
            alert_delivery::bring_back(conn, now).await
        })
        .await
    }
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
