//! Lists and prunes the audit; `crate::audit` has its chain, and [`Tx::audit`](crate::Tx::audit)
//! appends.

use std::fmt::Write as _;

use sqlx::{AnyConnection, AssertSqlSafe};

use crate::{
    AuditHead, AuditRecord, MasterKeyRing, ProjectId, Reader, StoreError, Timestamp,
    audit::{chain, checkpoint::AuditCheckpoint, mark, record::COLUMNS},
    engine::row,
    sealed::secret,
};

/// Which rows of the audit to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditPage {
    /// Only rows of these projects; `None`: all.
    pub projects: Option<Vec<ProjectId>>,
    /// Only rows of this deployment.
    pub deployment: Option<String>,
    /// Only rows of this API key, or of `certward`.
    pub actor: Option<String>,
    /// Only this action; all that begin with it if it ends with `.`.
    pub action: Option<String>,
    /// Only refused ones, or only those done.
    pub refused: Option<bool>,
    /// Only from then on.
    pub since: Option<Timestamp>,
    /// Only until then, inclusive.
    pub until: Option<Timestamp>,
    /// Oldest first, else newest first.
    pub oldest_first: bool,
    /// Only rows after this one ([`AuditRecord::row`]) in that order.
    pub beyond: Option<i64>,
    /// At most this many.
    pub limit: u32,
}

/// A row of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedAudit {
    /// The row.
    pub record: AuditRecord,
    /// The MAC of the row before in the chain. `None`: there is none.
    pub before: Option<Vec<u8>>,
}

impl Reader {
    /// A page of the audit.
    pub async fn audit(&self, page: &AuditPage) -> Result<Vec<ListedAudit>, StoreError> {
        self.run(async |conn| list(conn, page).await).await
    }

    /// The newest row of the chain. `None`: no change since the chain was introduced.
    pub async fn audit_head(&self) -> Result<Option<AuditHead>, StoreError> {
        self.run(async |conn| mark::head(conn).await).await
    }
}

/// Rows of the release before name their deployment as the subject only.
const DEPLOYMENT: &str = "coalesce(a.deployment, CASE WHEN a.position IS NULL AND (a.action LIKE 'tls.%' \
                          OR a.action LIKE 'deployment.%') THEN a.subject END)";

async fn list(conn: &mut AnyConnection, page: &AuditPage) -> Result<Vec<ListedAudit>, StoreError> {
    let mut conditions = Conditions { sql: String::from("1 = 1"), values: Vec::new() };
    if let Some(projects) = &page.projects {
        conditions.one_of("a.project", projects.iter().map(|project| project.as_str().to_owned()));
    }
    for (column, wanted) in [(DEPLOYMENT, &page.deployment), ("a.actor", &page.actor)] {
        if let Some(wanted) = wanted {
            conditions.compare(column, "=", FilterValue::Text(wanted.clone()));
        }
    }
    if let Some(action) = &page.action {
        match action.strip_suffix('.') {
            // '/' follows '.': the range of all that begin with it.
            Some(kind) => {
                conditions.compare("a.action", ">=", FilterValue::Text(action.clone()));
                conditions.compare("a.action", "<", FilterValue::Text(format!("{kind}/")));
            }
            None => conditions.compare("a.action", "=", FilterValue::Text(action.clone())),
        }
    }
    match page.refused {
        Some(true) => conditions.sql.push_str(" AND a.refusal IS NOT NULL"),
        Some(false) => conditions.sql.push_str(" AND a.refusal IS NULL"),
        None => {}
    }
    let (beyond, order) = if page.oldest_first { (">", "ASC") } else { ("<", "DESC") };
    let bounds = [
        ("a.at", ">=", page.since.map(|at| at.0)),
        ("a.at", "<=", page.until.map(|at| at.0)),
        ("a.number", beyond, page.beyond),
    ];
    for (column, operator, bound) in bounds {
        if let Some(bound) = bound {
            conditions.compare(column, operator, FilterValue::Number(bound));
        }
    }
    let Conditions { sql, values } = conditions;
    let sql = format!(
        "SELECT {COLUMNS}, coalesce(b.mac, c.row_mac) AS before_mac FROM audit a
         LEFT JOIN audit b ON b.position = a.position - 1
         LEFT JOIN audit_mark c ON c.name = 'checkpoint' AND c.position = a.position - 1
         WHERE {sql} ORDER BY a.number {order} LIMIT {}",
        page.limit
    );
    // Safe: values are bound.
    let query = values.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, value| match value {
        FilterValue::Text(text) => query.bind(text),
        FilterValue::Number(number) => query.bind(number),
    });
    let read = |row| {
        Ok(ListedAudit { record: AuditRecord::read(row)?, before: row::bytes_or_null(row, "before_mac")? })
    };
    query.fetch_all(conn).await?.iter().map(read).collect()
}

struct Conditions {
    sql: String,
    values: Vec<FilterValue>,
}

enum FilterValue {
    Text(String),
    Number(i64),
}

impl Conditions {
    fn compare(&mut self, column: &str, operator: &str, value: FilterValue) {
        self.values.push(value);
        // Writing to a String cannot fail.
        let _ = write!(self.sql, " AND {column} {operator} ${}", self.values.len());
    }

    fn one_of(&mut self, column: &str, texts: impl Iterator<Item = String>) {
        let first = self.values.len() + 1;
        self.values.extend(texts.map(FilterValue::Text));
        let places: Vec<String> = (first..=self.values.len()).map(|place| format!("${place}")).collect();
        let _ = match places.is_empty() {
            true => write!(self.sql, " AND 1 = 0"),
            false => write!(self.sql, " AND {column} IN ({})", places.join(", ")),
        };
    }
}

/// What a run of [`prune`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuditPruned {
    Done,
    MoreRemain,
    /// Nothing: the checkpoint would hide that rows are missing.
    Broken,
}

/// Keeps about `kept` rows. The checkpoint continues the chain at the newest pruned row.
pub(crate) async fn prune(
    conn: &mut AnyConnection,
    keys: &MasterKeyRing,
    now: Timestamp,
    kept: i64,
    limit: u32,
) -> Result<AuditPruned, StoreError> {
    // Before the head, in the order of locks.
    let sealer = secret::sealer(conn, keys).await?;
    // One node at a time, before anything is read.
    sqlx::query("UPDATE audit_mark SET position = position WHERE name = 'head'").execute(&mut *conn).await?;
    let row = sqlx::query("SELECT min(number) AS oldest, max(number) AS newest FROM audit")
        .fetch_one(&mut *conn)
        .await?;
    let (Some(oldest), Some(newest)) =
        (row::integer_or_null(&row, "oldest")?, row::integer_or_null(&row, "newest")?)
    else {
        return Ok(AuditPruned::Done);
    };
    let end = newest.saturating_sub(kept).min(oldest.saturating_add(i64::from(limit)) - 1);
    if end < oldest {
        return Ok(AuditPruned::Done);
    }
    let last = sqlx::query(
        "SELECT number, position, mac FROM audit WHERE number <= $1 AND position IS NOT NULL
         ORDER BY number DESC LIMIT 1",
    )
    .bind(end)
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(last) = last {
        let checkpoint = AuditCheckpoint {
            number: row::integer(&last, "position")?,
            at: now,
            row_mac: row::bytes_or_null(&last, "mac")?.unwrap_or_default(),
            row: row::integer(&last, "number")?,
            master_key: sealer.id().as_bytes().to_vec(),
        };
        let Ok(before) = mark::checkpoint(conn, keys).await? else { return Ok(AuditPruned::Broken) };
        let chained =
            sqlx::query("SELECT count(*) AS rows FROM audit WHERE number <= $1 AND position IS NOT NULL")
                .bind(end)
                .fetch_one(&mut *conn)
                .await?;
        let pruned_before = before.map_or(0, |checkpoint| checkpoint.number);
        if row::integer(&chained, "rows")? != checkpoint.number - pruned_before {
            return Ok(AuditPruned::Broken);
        }
        let mac = sealer.audit_key().mac(&chain::checkpoint_message(&checkpoint));
        checkpoint.write(conn, &mac).await?;
    }
    let done = sqlx::query("DELETE FROM audit WHERE number <= $1").bind(end).execute(conn).await?;
    Ok(if done.rows_affected() >= u64::from(limit) { AuditPruned::MoreRemain } else { AuditPruned::Done })
}
