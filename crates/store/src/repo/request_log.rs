//! Exact sliding windows: a row per admitted request, with time and place in its scope. Times never
//! fall in a scope, so the first row inside the window gives the count by its place: one index
//! look-up. The time is read under the lock of the scope's row: concurrent requests cannot exceed
//! the limit. When the clock steps back, the scope's times move with it: no window exceeds its
//! limit in real time, and no client is locked out until a wrong clock is reached again.

use std::time::Duration;

use sqlx::AnyConnection;
use tokio::time::Instant;

use crate::{
    ApiKey, Clock, Store, StoreError, Timestamp,
    engine::{lock, pool::step, row},
    metrics::StoreWork,
};

/// A separately limited method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET and HEAD of the certificate.
    Get,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
    /// POST of `/rollback`.
    Rollback,
    /// POST and DELETE of client CAs.
    ClientCas,
    /// POST of `/check`.
    Check,
    /// GET of projects and deployments.
    Neighbours,
    /// GET of a list that comes in many pages.
    Pages,
    /// DELETE of sessions.
    CloseSessions,
    /// A change of the deny-list or of a CRL.
    Revocation,
}

/// A limit of requests per window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimit {
    /// Requests in any window; at least 1.
    pub requests: u32,
    /// Its length.
    pub window: Duration,
}

/// A decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// Admitted, and counted.
    pub admitted: bool,
    /// The limit.
    pub limit: u32,
    /// Requests left now.
    pub remaining: u32,
    /// Until the oldest counted request leaves the window.
    pub reset: Duration,
}

impl Store {
    /// Counts a request of `key` with `method` on `subject` (a deployment id; empty for lists), if
    /// within the limit. Exact under concurrency, durable across restarts.
    pub async fn admit(
        &self,
        key: &ApiKey,
        subject: &str,
        method: Method,
        limit: RequestLimit,
    ) -> Result<Admission, StoreError> {
        let (scope, began) = (scope(key, method, subject), Instant::now());
        let admitted = async {
            let mut tx = self.inner.engine()?.begin_on_requests().await?;
            let decision = step(admit(&mut tx, self.inner.clock.as_ref(), &scope, limit)).await?;
            if decision.wrote {
                step(async { Ok(tx.commit().await?) }).await?;
            } else {
                // Refused requests must not cost disk writes.
                step(async { Ok(tx.rollback().await?) }).await?;
            }
            Ok(decision.admission)
        };
        let admission = admitted.await;
        self.inner.metrics.done(StoreWork::Write, began, &admission);
        admission
    }
}

fn scope(key: &ApiKey, method: Method, subject: &str) -> String {
    let method = match method {
        Method::Get => "get",
        Method::Post => "post",
        Method::Put => "put",
        Method::Delete => "delete",
        Method::Rollback => "rollback",
        Method::ClientCas => "client-cas",
        Method::Check => "check",
        Method::Neighbours => "neighbours",
        Method::Pages => "pages",
        Method::CloseSessions => "close-sessions",
        Method::Revocation => "revocation",
    };
    format!("{}/{method}/{}", key.as_str(), row::storable(subject))
}

#[derive(Debug)]
struct Decision {
    admission: Admission,
    wrote: bool,
}

/// Locked by a write.
struct ScopeRow {
    next: i64,
    last_at: Timestamp,
    now: Timestamp,
}

/// Roll back if nothing was written.
async fn admit(
    conn: &mut AnyConnection,
    clock: &dyn Clock,
    scope: &str,
    limit: RequestLimit,
) -> Result<Decision, StoreError> {
    let ScopeRow { next, last_at, now } = lock_scope(conn, clock, scope).await?;
    let stepped_back = now < last_at;
    if stepped_back {
        move_back(conn, scope, now, last_at.0.saturating_sub(now.0)).await?;
    }
    let window = i64::try_from(limit.window.as_millis()).unwrap_or(i64::MAX);
    let outside = now.0.saturating_sub(window);
    let first = first_after(conn, scope, outside).await?;
    let (first_seq, first_at) = first.unwrap_or((next, now.0));
    let counted = u64::try_from(next.saturating_sub(first_seq)).map_err(|_| row::unreadable("seq"))?;
    let reset = Duration::from_millis(u64::try_from(first_at.saturating_sub(outside)).unwrap_or(0));
    // A limit of 0 is impossible to meet.
    let requests = limit.requests.max(1);
    let left = u64::from(requests).saturating_sub(counted);
    let admitted = left > 0;
    if admitted {
        count(conn, scope, next, now, outside).await?;
    }
    let remaining = u32::try_from(left.saturating_sub(1)).unwrap_or(u32::MAX);
    let admission = Admission { admitted, limit: requests, remaining, reset };
    Ok(Decision { admission, wrote: admitted || stepped_back })
}

async fn lock_scope(
    conn: &mut AnyConnection,
    clock: &dyn Clock,
    scope: &str,
) -> Result<ScopeRow, StoreError> {
    // The no-op write locks the row; PostgreSQL evaluates RETURNING under the lock.
    let sql = if lock::is_postgres(conn) {
        "INSERT INTO request_scope (scope, next, last_at) VALUES ($1, 0, 0)
         ON CONFLICT (scope) DO UPDATE SET next = request_scope.next
         RETURNING next, last_at, (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now"
    } else {
        "INSERT INTO request_scope (scope, next, last_at) VALUES ($1, 0, 0)
         ON CONFLICT (scope) DO UPDATE SET next = request_scope.next
         RETURNING next, last_at"
    };
    let row = sqlx::query(sql).bind(scope).fetch_one(&mut *conn).await?;
    let now = if lock::is_postgres(conn) { Timestamp(row::integer(&row, "now")?) } else { clock.now() };
    Ok(ScopeRow {
        next: row::integer(&row, "next")?,
        last_at: Timestamp(row::integer(&row, "last_at")?),
        now,
    })
}

async fn move_back(
    conn: &mut AnyConnection,
    scope: &str,
    now: Timestamp,
    by_milliseconds: i64,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE request SET at = at - $2 WHERE scope = $1")
        .bind(scope)
        .bind(by_milliseconds)
        .execute(&mut *conn)
        .await?;
    sqlx::query("UPDATE request_scope SET last_at = $2 WHERE scope = $1")
        .bind(scope)
        .bind(now.0)
        .execute(conn)
        .await?;
    Ok(())
}

async fn first_after(
    conn: &mut AnyConnection,
    scope: &str,
    at: i64,
) -> Result<Option<(i64, i64)>, StoreError> {
    let row =
        sqlx::query("SELECT seq, at FROM request WHERE scope = $1 AND at > $2 ORDER BY at, seq LIMIT 1")
            .bind(scope)
            .bind(at)
            .fetch_optional(conn)
            .await?;
    row.map(|row| Ok((row::integer(&row, "seq")?, row::integer(&row, "at")?))).transpose()
}

async fn count(
    conn: &mut AnyConnection,
    scope: &str,
    seq: i64,
    now: Timestamp,
    outside: i64,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM request WHERE scope = $1 AND at <= $2")
        .bind(scope)
        .bind(outside)
        .execute(&mut *conn)
        .await?;
    sqlx::query("INSERT INTO request (scope, at, seq) VALUES ($1, $2, $3)")
        .bind(scope)
        .bind(now.0)
        .bind(seq)
        .execute(&mut *conn)
        .await?;
    sqlx::query("UPDATE request_scope SET next = $2, last_at = $3 WHERE scope = $1")
        .bind(scope)
        .bind(seq.saturating_add(1))
        .bind(now.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// Returns whether more may remain.
pub(crate) async fn prune(
    conn: &mut AnyConnection,
    before: Timestamp,
    limit: u32,
) -> Result<bool, StoreError> {
    // PostgreSQL evaluates the outer condition again after a concurrent admission.
    let done = sqlx::query(
        "DELETE FROM request_scope WHERE last_at <= $1 AND scope IN
         (SELECT scope FROM request_scope WHERE last_at <= $1 LIMIT $2)",
    )
    .bind(before.0)
    .bind(i64::from(limit))
    .execute(conn)
    .await?;
    Ok(done.rows_affected() >= u64::from(limit))
}
