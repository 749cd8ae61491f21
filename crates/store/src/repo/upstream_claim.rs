//! Claims of upstream addresses. A claim refuses nothing: `lifecycle` decides about shared ones.
//! Deployments written by an older release lack claims or have outdated ones: an index finds them,
//! they are scanned, and [`catch_up`] repairs them.

use sqlx::{AnyConnection, AssertSqlSafe};

use crate::{
    Deployment, ProjectId, Reader, StoreError, Tx, Upstream, UpstreamList,
    engine::{lock, row},
};

const SCAN_PAGE_ROWS: i64 = 1_000;

impl Reader {
    /// The deployment's upstreams that other projects use, too.
    pub async fn shared_upstreams(&self, deployment: &Deployment) -> Result<Vec<Upstream>, StoreError> {
        let addresses = claimed(&deployment.spec.upstream, deployment.spec.ws_upstream.as_ref());
        let taken = self.run(async |conn| taken(conn, addresses, &deployment.project).await).await?;
        let upstreams = [Some(&deployment.spec.upstream), deployment.spec.ws_upstream.as_ref()];
        let upstreams = upstreams.into_iter().flatten().flat_map(UpstreamList::as_slice);
        Ok(upstreams.filter(|upstream| taken.contains(&upstream.claimed())).cloned().collect())
    }
}

impl Tx {
    /// The first upstream that another project uses.
    pub async fn taken_upstream(
        &mut self,
        upstreams: &[&Upstream],
        project: &ProjectId,
    ) -> Result<Option<Upstream>, StoreError> {
        let addresses = upstreams.iter().map(|upstream| upstream.claimed()).collect();
        let taken = self.step(async |conn| taken(conn, addresses, project).await).await?;
        let is_taken = |upstream: &&&Upstream| taken.contains(&upstream.claimed());
        Ok(upstreams.iter().find(is_taken).map(|upstream| (*upstream).clone()))
    }
}

pub(crate) async fn write(conn: &mut AnyConnection, deployment: &Deployment) -> Result<(), StoreError> {
    let ws_upstream = deployment.spec.ws_upstream.as_ref();
    let text =
        format!("{} {}", deployment.spec.upstream, ws_upstream.map_or_else(String::new, ToString::to_string));
    let addresses = claimed(&deployment.spec.upstream, ws_upstream);
    write_for(conn, deployment.id.as_str(), deployment.project.as_str(), &text, &addresses).await
}

/// `text`: the addresses' source.
async fn write_for(
    conn: &mut AnyConnection,
    deployment: &str,
    project: &str,
    text: &str,
    addresses: &[String],
) -> Result<(), StoreError> {
    let noted =
        sqlx::query("UPDATE deployment SET claimed = $2 WHERE id = $1 AND coalesce(claimed, '') <> $2")
            .bind(deployment)
            .bind(text)
            .execute(&mut *conn)
            .await?;
    if noted.rows_affected() == 0 {
        return Ok(());
    }
    sqlx::query("DELETE FROM upstream_claim WHERE deployment = $1")
        .bind(deployment)
        .execute(&mut *conn)
        .await?;
    for address in addresses {
        sqlx::query("INSERT INTO upstream_claim (address, project, deployment) VALUES ($1, $2, $3)")
            .bind(address.as_str())
            .bind(project)
            .bind(deployment)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// Each once.
fn claimed(upstream: &UpstreamList, ws_upstream: Option<&UpstreamList>) -> Vec<String> {
    let lists = std::iter::once(upstream).chain(ws_upstream);
    let mut addresses: Vec<_> = lists.flat_map(UpstreamList::as_slice).map(|it| it.claimed()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

async fn taken(
    conn: &mut AnyConnection,
    addresses: Vec<String>,
    project: &ProjectId,
) -> Result<Vec<String>, StoreError> {
    let mut taken = unclaimed_of_others(conn, &addresses, project).await?;
    for address in &addresses {
        // Independent of how often the own project uses it.
        let row = sqlx::query(
            "SELECT address FROM upstream_claim WHERE address = $1 AND project < $2
             UNION ALL SELECT address FROM upstream_claim WHERE address = $1 AND project > $2
             LIMIT 1",
        )
        .bind(address.as_str())
        .bind(project.as_str())
        .fetch_optional(&mut *conn)
        .await?;
        if row.is_some() {
            taken.push(address.clone());
        }
    }
    Ok(addresses.into_iter().filter(|address| taken.contains(address)).collect())
}

async fn unclaimed_of_others(
    conn: &mut AnyConnection,
    addresses: &[String],
    project: &ProjectId,
) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let rows = unclaimed_after(conn, &after, SCAN_PAGE_ROWS, "").await?;
        let Some(last) = rows.last() else { return Ok(found) };
        after.clone_from(&last.id);
        for row in rows.iter().filter(|row| row.project != project.as_str()) {
            found.extend(row.addresses().into_iter().filter(|address| addresses.contains(address)));
        }
    }
}

/// Returns whether more may remain. Skips locked deployments: their change writes the claims or a
/// later call finds them; waiting while holding other claims could deadlock.
pub(crate) async fn catch_up(conn: &mut AnyConnection, limit: u32) -> Result<bool, StoreError> {
    let lock = if lock::is_postgres(conn) { " FOR UPDATE SKIP LOCKED" } else { "" };
    let rows = unclaimed_after(conn, "", i64::from(limit), lock).await?;
    for row in &rows {
        let text = format!("{} {}", row.upstream, row.ws_upstream.as_deref().unwrap_or_default());
        write_for(conn, &row.id, &row.project, &text, &row.addresses()).await?;
    }
    Ok(rows.len() as u64 >= u64::from(limit))
}

struct Unclaimed {
    id: String,
    project: String,
    upstream: String,
    ws_upstream: Option<String>,
}

impl Unclaimed {
    /// Unreadable ones are not dialled either.
    fn addresses(&self) -> Vec<String> {
        let Ok(upstream) = UpstreamList::parse(&self.upstream) else { return Vec::new() };
        let ws_upstream = self.ws_upstream.as_deref().and_then(|text| UpstreamList::parse(text).ok());
        claimed(&upstream, ws_upstream.as_ref())
    }
}

async fn unclaimed_after(
    conn: &mut AnyConnection,
    after: &str,
    limit: i64,
    lock: &'static str,
) -> Result<Vec<Unclaimed>, StoreError> {
    // As in the index `deployment_unclaimed`.
    let sql = format!(
        "SELECT id, project, upstream, ws_upstream FROM deployment
         WHERE id > $1 AND coalesce(claimed, '') <> upstream || ' ' || coalesce(ws_upstream, '')
         ORDER BY id LIMIT $2{lock}"
    );
    // Safe: fixed texts.
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(after).bind(limit).fetch_all(conn).await?;
    let read = |row| {
        Ok(Unclaimed {
            id: row::text(row, "id")?,
            project: row::text(row, "project")?,
            upstream: row::text(row, "upstream")?,
            ws_upstream: row::text_or_null(row, "ws_upstream")?,
        })
    };
    rows.iter().map(read).collect()
}
