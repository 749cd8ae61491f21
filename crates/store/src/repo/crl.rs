//! CRLs of deployments. What nodes verify with has a revision, which is part of the deployment's
//! mark; the schedule of fetches has none.

use certward_pki::StalePolicy;
use sqlx::{Any, AnyConnection, AssertSqlSafe, any::AnyRow, query::Query};

use crate::{
    ApiKey, CrlContent, CrlFetchFailure, CrlFetching, CrlId, CrlRevision, CrlUrl, DeploymentCrl,
    DeploymentId, DeploymentRef, DueCrl, FetchConditions, Generation, ProjectId, Reader, ServedCrl, Store,
    StoreError, Timestamp, Tx,
    engine::{
        lock,
        many_rows::{self, places},
        row,
    },
    repo::deployment,
};

/// As large as the largest of other rows.
const PART_BYTES: usize = 64 * 1024;

const COLUMNS: &str = "c.id, c.generation, c.revision, c.bytes, c.fingerprint, c.signer, c.issuer, c.number, c.entries,
    c.this_update, c.next_update, c.stale_policy, c.url, c.etag, c.last_modified, c.fetched_at, c.next_fetch_at,
    c.failure_code, c.failure, c.failures, c.failing_since, c.put_by, c.put_at";

impl Reader {
    /// A deployment's CRLs, by id.
    pub async fn crls(&self, deployment: &DeploymentId) -> Result<Vec<DeploymentCrl>, StoreError> {
        self.run(async |conn| all(conn, deployment).await).await
    }

    /// The states of those that have been accepted, by id.
    pub async fn crl_revisions(
        &self,
        deployment: &DeploymentId,
    ) -> Result<Vec<(CrlId, CrlRevision)>, StoreError> {
        self.run(async |conn| revisions(conn, deployment).await).await
    }

    /// One to verify with. `None`: it is not there, or not accepted yet.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] too if parts are missing, which only a snapshot excludes.
    pub async fn served_crl(
        &self,
        deployment: &DeploymentId,
        id: &CrlId,
    ) -> Result<Option<ServedCrl>, StoreError> {
        self.run(async |conn| served(conn, deployment, id).await).await
    }
}

impl Tx {
    /// As [`Reader::crls`].
    pub async fn crls(&mut self, deployment: &DeploymentId) -> Result<Vec<DeploymentCrl>, StoreError> {
        self.step(async |conn| all(conn, deployment).await).await
    }

    /// Stores a CRL of a locked deployment in place of one with its id. `der`: of the content, if
    /// that is another one. A new revision needs a generation.
    pub async fn put_crl(
        &mut self,
        deployment: &DeploymentId,
        crl: &DeploymentCrl,
        der: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        self.change(async |conn| {
            let before = revision(conn, deployment, &crl.id).await?;
            write(conn, deployment, crl).await?;
            if let Some(der) = der {
                replace_parts(conn, deployment, &crl.id, der).await?;
            }
            let after = crl.content.as_ref().map(|content| content.revision);
            let changed = [before, after].into_iter().flatten().map(|revision| revision.0);
            deployment::change_mark(conn, deployment, changed, 0).await
        })
        .await
    }

    /// Removes a CRL of a locked deployment; `false` if there is none. The change needs a
    /// generation.
    pub async fn remove_crl(&mut self, deployment: &DeploymentId, id: &CrlId) -> Result<bool, StoreError> {
        self.change(async |conn| {
            let before = revision(conn, deployment, id).await?;
            let removed = remove(conn, deployment, id).await?;
            deployment::change_mark(conn, deployment, before.map(|revision| revision.0), 0).await?;
            Ok(removed)
        })
        .await
    }

    /// Notes how a fetch went, and when the next one is due; the content stays.
    pub async fn set_crl_fetching(
        &mut self,
        deployment: &DeploymentId,
        id: &CrlId,
        fetching: &CrlFetching,
    ) -> Result<(), StoreError> {
        self.step(async |conn| {
            let sql =
                "UPDATE crl SET url = $3, etag = $4, last_modified = $5, fetched_at = $6, next_fetch_at = $7,
                failure_code = $8, failure = $9, failures = $10, failing_since = $11
                WHERE deployment = $1 AND id = $2";
            let query = sqlx::query(sql).bind(deployment.as_str()).bind(id.as_str());
            bind_fetching(query, Some(fetching)).execute(conn).await?;
            Ok(())
        })
        .await
    }
}

impl Tx {
    /// The sizes of all CRLs of all deployments, in DER.
    pub async fn crl_bytes_of_all(&mut self) -> Result<u64, StoreError> {
        self.step(async |conn| {
            let sql = "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes FROM crl";
            row::count(&sqlx::query(sql).fetch_one(conn).await?, "bytes")
        })
        .await
    }
}

impl Store {
    /// The CRL that has been due for longest, of a project that is not `busy`, for the caller
    /// alone: its next fetch moves to `until`, which an outcome replaces.
    pub async fn claim_crl_fetch(
        &self,
        now: Timestamp,
        until: Timestamp,
        busy: &[ProjectId],
    ) -> Result<Option<DueCrl>, StoreError> {
        // Without a write: it is asked for often, and there is one once a day.
        if !self.read().run(async |conn| is_any_due(conn, now).await).await? {
            return Ok(None);
        }
        let mut tx = self.begin().await?;
        let claimed = tx.step(async |conn| claim(conn, now, until, busy).await).await?;
        tx.commit().await?;
        Ok(claimed)
    }
}

async fn is_any_due(conn: &mut AnyConnection, now: Timestamp) -> Result<bool, StoreError> {
    let query = sqlx::query("SELECT 1 FROM crl WHERE next_fetch_at <= $1 LIMIT 1").bind(now.0);
    Ok(query.fetch_optional(conn).await?.is_some())
}

async fn claim(
    conn: &mut AnyConnection,
    now: Timestamp,
    until: Timestamp,
    busy: &[ProjectId],
) -> Result<Option<DueCrl>, StoreError> {
    let of_others = match busy.len() {
        0 => String::new(),
        projects => format!("AND d.project NOT IN ({})", places(2, projects)),
    };
    // Another node has the locked ones.
    let lock = if lock::is_postgres(conn) { " FOR UPDATE OF c SKIP LOCKED" } else { "" };
    let sql = format!(
        "SELECT {COLUMNS}, d.id AS deployment, d.project, d.born FROM crl c JOIN deployment d ON d.id = c.deployment
         WHERE c.next_fetch_at <= $1 {of_others} ORDER BY c.next_fetch_at LIMIT 1{lock}"
    );
    // Safe: constants and numbers.
    let query = sqlx::query(AssertSqlSafe(sql)).persistent(false).bind(now.0);
    let query = busy.iter().fold(query, |query, project| query.bind(project.to_string()));
    let row = query.fetch_optional(&mut *conn).await?;
    let Some(row) = row else { return Ok(None) };
    let deployment = DeploymentRef {
        id: row::deployment_id(&row, "deployment")?,
        project: row::project_id(&row, "project")?,
        born: Generation(row::integer(&row, "born")?),
    };
    // Before it is read: one that cannot be must not hold up the others.
    sqlx::query("UPDATE crl SET next_fetch_at = $3 WHERE deployment = $1 AND id = $2")
        .bind(deployment.id.as_str())
        .bind(row::text(&row, "id")?)
        .bind(until.0)
        .execute(conn)
        .await?;
    Ok(read(&row).ok().map(|crl| DueCrl { deployment, crl }))
}

async fn all(conn: &mut AnyConnection, deployment: &DeploymentId) -> Result<Vec<DeploymentCrl>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM crl c WHERE c.deployment = $1 ORDER BY c.id");
    // Safe: constants.
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(deployment.as_str()).fetch_all(conn).await?;
    rows.iter().map(read).collect()
}

pub(crate) async fn revisions(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
) -> Result<Vec<(CrlId, CrlRevision)>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, revision FROM crl WHERE deployment = $1 AND revision IS NOT NULL ORDER BY id",
    )
    .bind(deployment.as_str())
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok((id(row)?, CrlRevision(row::sixteen(row, "revision")?)))).collect()
}

async fn revision(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    id: &CrlId,
) -> Result<Option<CrlRevision>, StoreError> {
    let found = revisions(conn, deployment).await?;
    Ok(found.into_iter().find(|(found, _)| found == id).map(|(_, revision)| revision))
}

pub(crate) async fn served(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    id: &CrlId,
) -> Result<Option<ServedCrl>, StoreError> {
    let row = sqlx::query(
        "SELECT revision, bytes, signer, stale_policy FROM crl
         WHERE deployment = $1 AND id = $2 AND revision IS NOT NULL",
    );
    let row = row.bind(deployment.as_str()).bind(id.as_str()).fetch_optional(&mut *conn).await?;
    let Some(row) = row else { return Ok(None) };
    let der = read_parts(conn, deployment, id).await?;
    if der.len() as u64 != row::count(&row, "bytes")? {
        return Err(StoreError::Corrupt(format!("the CRL {id} of {deployment} is not whole")));
    }
    Ok(Some(ServedCrl {
        id: id.clone(),
        revision: CrlRevision(row::sixteen(&row, "revision")?),
        der,
        signer_spki: row::bytes(&row, "signer")?,
        stale_policy: stale_policy(&row)?,
    }))
}

async fn read_parts(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    id: &CrlId,
) -> Result<Vec<u8>, StoreError> {
    let (mut der, mut last) = (Vec::new(), -1);
    loop {
        // Sixteen at a time: a row of the driver is a copy.
        let rows = sqlx::query(
            "SELECT part, der FROM crl_part WHERE deployment = $1 AND crl = $2 AND part > $3 ORDER BY part LIMIT 16",
        )
        .bind(deployment.as_str())
        .bind(id.as_str())
        .bind(last)
        .fetch_all(&mut *conn)
        .await?;
        let Some(row) = rows.last() else { return Ok(der) };
        last = row::integer(row, "part")?;
        for row in &rows {
            der.extend(row::bytes(row, "der")?);
        }
    }
}

async fn replace_parts(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    id: &CrlId,
    der: &[u8],
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM crl_part WHERE deployment = $1 AND crl = $2")
        .bind(deployment.as_str())
        .bind(id.as_str())
        .execute(&mut *conn)
        .await?;
    let parts: Vec<(i64, &[u8])> = (0..).zip(der.chunks(PART_BYTES)).collect();
    // Statements of one MiB.
    for parts in parts.chunks(16) {
        let insert = "INSERT INTO crl_part (deployment, crl, part, der)";
        many_rows::insert(conn, (insert, ""), 4, parts, |query, (part, der)| {
            query.bind(deployment.to_string()).bind(id.to_string()).bind(*part).bind(der.to_vec())
        })
        .await?;
    }
    Ok(())
}

fn id(row: &AnyRow) -> Result<CrlId, StoreError> {
    CrlId::parse(&row::text(row, "id")?).map_err(|_| row::unreadable("id"))
}

fn stale_policy(row: &AnyRow) -> Result<StalePolicy, StoreError> {
    StalePolicy::parse(&row::text(row, "stale_policy")?).ok_or_else(|| row::unreadable("stale_policy"))
}

fn read(row: &AnyRow) -> Result<DeploymentCrl, StoreError> {
    Ok(DeploymentCrl {
        id: id(row)?,
        generation: Generation(row::integer(row, "generation")?),
        content: content(row)?,
        stale_policy: stale_policy(row)?,
        fetching: fetching(row)?,
        put_by: ApiKey::parse(&row::text(row, "put_by")?).ok_or_else(|| row::unreadable("put_by"))?,
        put_at: Timestamp(row::integer(row, "put_at")?),
    })
}

fn content(row: &AnyRow) -> Result<Option<CrlContent>, StoreError> {
    if row::bytes_or_null(row, "revision")?.is_none() {
        return Ok(None);
    }
    Ok(Some(CrlContent {
        revision: CrlRevision(row::sixteen(row, "revision")?),
        bytes: row::count(row, "bytes")?,
        fingerprint: row::text(row, "fingerprint")?,
        signer_spki: row::bytes(row, "signer")?,
        issuer: row::text(row, "issuer")?,
        number: row::text_or_null(row, "number")?,
        entries: row::count(row, "entries")?,
        this_update: Timestamp(row::integer(row, "this_update")?),
        next_update: row::integer_or_null(row, "next_update")?.map(Timestamp),
    }))
}

fn fetching(row: &AnyRow) -> Result<Option<CrlFetching>, StoreError> {
    let Some(url) = row::text_or_null(row, "url")? else { return Ok(None) };
    let (etag, modified) = (row::text_or_null(row, "etag")?, row::text_or_null(row, "last_modified")?);
    Ok(Some(CrlFetching {
        url: CrlUrl::parse(&url).map_err(|_| row::unreadable("url"))?,
        conditions: FetchConditions::of(etag.as_deref(), modified.as_deref()),
        fetched_at: row::integer_or_null(row, "fetched_at")?.map(Timestamp),
        next_at: Timestamp(row::integer(row, "next_fetch_at")?),
        failure: failure(row)?,
    }))
}

fn failure(row: &AnyRow) -> Result<Option<CrlFetchFailure>, StoreError> {
    let Some(code) = row::text_or_null(row, "failure_code")? else { return Ok(None) };
    Ok(Some(CrlFetchFailure {
        code,
        sentence: row::text(row, "failure")?,
        count: u32::try_from(row::count(row, "failures")?).unwrap_or(u32::MAX),
        since: Timestamp(row::integer(row, "failing_since")?),
    }))
}

type CrlQuery<'q> = Query<'q, Any, sqlx::any::AnyArguments>;

async fn write(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    crl: &DeploymentCrl,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO crl (deployment, id, url, etag, last_modified, fetched_at, next_fetch_at, failure_code,
            failure, failures, failing_since, generation, stale_policy, put_by, put_at, revision, bytes, fingerprint,
            signer, issuer, number, entries, this_update, next_update)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
            $23, $24)
        ON CONFLICT (deployment, id) DO UPDATE SET url = excluded.url, etag = excluded.etag,
            last_modified = excluded.last_modified, fetched_at = excluded.fetched_at,
            next_fetch_at = excluded.next_fetch_at, failure_code = excluded.failure_code, failure = excluded.failure,
            failures = excluded.failures, failing_since = excluded.failing_since, generation = excluded.generation,
            stale_policy = excluded.stale_policy, put_by = excluded.put_by, put_at = excluded.put_at,
            revision = excluded.revision, bytes = excluded.bytes, fingerprint = excluded.fingerprint,
            signer = excluded.signer, issuer = excluded.issuer, number = excluded.number, entries = excluded.entries,
            this_update = excluded.this_update, next_update = excluded.next_update";
    let query = sqlx::query(sql).bind(deployment.as_str()).bind(crl.id.as_str());
    let query = bind_fetching(query, crl.fetching.as_ref())
        .bind(crl.generation.0)
        .bind(crl.stale_policy.as_str())
        .bind(crl.put_by.as_str())
        .bind(crl.put_at.0);
    bind_content(query, crl.content.as_ref()).execute(conn).await?;
    Ok(())
}

/// Nine parameters.
fn bind_fetching<'q>(query: CrlQuery<'q>, fetching: Option<&'q CrlFetching>) -> CrlQuery<'q> {
    let failure = fetching.and_then(|fetching| fetching.failure.as_ref());
    query
        .bind(fetching.map(|fetching| fetching.url.as_str()))
        .bind(fetching.and_then(|fetching| fetching.conditions.etag()))
        .bind(fetching.and_then(|fetching| fetching.conditions.last_modified()))
        .bind(fetching.and_then(|fetching| fetching.fetched_at).map(|at| at.0))
        .bind(fetching.map(|fetching| fetching.next_at.0))
        .bind(failure.map(|failure| failure.code.as_str()))
        .bind(failure.map(|failure| row::storable(&failure.sentence).into_owned()))
        .bind(failure.map_or(0, |failure| i64::from(failure.count)))
        .bind(failure.map(|failure| failure.since.0))
}

/// Nine parameters.
fn bind_content<'q>(query: CrlQuery<'q>, content: Option<&'q CrlContent>) -> CrlQuery<'q> {
    query
        .bind(content.map(|content| content.revision.0.to_vec()))
        .bind(content.map_or(0, |content| row::bound(content.bytes)))
        .bind(content.map_or("", |content| content.fingerprint.as_str()))
        .bind(content.map(|content| content.signer_spki.clone()))
        .bind(content.map_or("", |content| content.issuer.as_str()))
        .bind(content.and_then(|content| content.number.as_deref()))
        .bind(content.map_or(0, |content| row::bound(content.entries)))
        .bind(content.map(|content| content.this_update.0))
        .bind(content.and_then(|content| content.next_update).map(|at| at.0))
}

pub(crate) async fn remove(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    id: &CrlId,
) -> Result<bool, StoreError> {
    let sql = "DELETE FROM crl WHERE deployment = $1 AND id = $2";
    let removed = sqlx::query(sql).bind(deployment.as_str()).bind(id.as_str()).execute(conn).await?;
    Ok(removed.rows_affected() > 0)
}

/// Into a replica: without what is shown.
pub(crate) async fn write_served(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    served: &ServedCrl,
    generation: Generation,
) -> Result<(), StoreError> {
    remove(conn, deployment, &served.id).await?;
    sqlx::query(
        "INSERT INTO crl (deployment, id, revision, generation, bytes, signer, stale_policy, fingerprint, issuer,
            entries, failures, put_by, put_at) VALUES ($1, $2, $3, $4, $5, $6, $7, '', '', 0, 0, '', 0)",
    )
    .bind(deployment.as_str())
    .bind(served.id.as_str())
    .bind(served.revision.0.to_vec())
    .bind(generation.0)
    .bind(row::bound(served.der.len() as u64))
    .bind(served.signer_spki.as_slice())
    .bind(served.stale_policy.as_str())
    .execute(&mut *conn)
    .await?;
    replace_parts(conn, deployment, &served.id, &served.der).await
}
