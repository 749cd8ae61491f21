use sqlx::AnyConnection;

use crate::{Reader, StoreError, Timestamp, engine::row};

/// Each reads its version, on a cold disk at 0.5 ms: 1 s, a fifth of the statement timeout.
const COUNTED_AT_ONCE: u32 = 2_000;

/// Deployments by state, and the earliest expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatusCounts {
    /// Deployments without a certificate.
    pub absent: u64,
    /// See [`crate::TlsState::Pending`].
    pub pending: u64,
    /// See [`crate::TlsState::Running`].
    pub running: u64,
    /// See [`crate::TlsState::Failed`].
    pub failed: u64,
    /// See [`crate::TlsState::Terminated`].
    pub terminated: u64,
    /// The newest uploads' earliest notAfter; `None` without certificates.
    pub earliest_not_after: Option<Timestamp>,
}

impl Reader {
    /// Counts all deployments.
    pub async fn status_counts(&self) -> Result<StatusCounts, StoreError> {
        self.status_counts_by(COUNTED_AT_ONCE).await
    }

    async fn status_counts_by(&self, page: u32) -> Result<StatusCounts, StoreError> {
        let mut counts = StatusCounts::default();
        let mut after = Some(String::new());
        while let Some(from) = after {
            // Others use the connection between pages.
            after = self.run(async |conn| add_page(conn, &mut counts, &from, page).await).await?;
        }
        Ok(counts)
    }
}

/// Adds a page of at most `limit` deployments. Returns where to continue.
///
/// One statement over a million deployments could exceed the statement timeout each time. A
/// deployment that changes in between is counted once.
async fn add_page(
    conn: &mut AnyConnection,
    counts: &mut StatusCounts,
    after: &str,
    limit: u32,
) -> Result<Option<String>, StoreError> {
    // First, so that no plan reads more.
    let rows = sqlx::query(
        "SELECT d.tls_state AS state, count(*) AS deployments, min(v.not_after) AS earliest, max(d.id) AS last
         FROM (SELECT id, tls_state, tls_version FROM deployment WHERE id > $1 ORDER BY id LIMIT $2) d
         LEFT JOIN version v ON v.deployment = d.id AND v.version = d.tls_version GROUP BY d.tls_state",
    )
    .bind(after)
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await?;
    let mut last = None;
    for found in rows {
        let deployments = u64::try_from(row::integer(&found, "deployments")?)
            .map_err(|_| row::unreadable("deployments"))?;
        let place = match row::text(&found, "state")?.as_str() {
            "absent" => &mut counts.absent,
            "pending" => &mut counts.pending,
            "running" => &mut counts.running,
            "failed" => &mut counts.failed,
            "terminated" => &mut counts.terminated,
            _ => return Err(row::unreadable("tls_state")),
        };
        *place += deployments;
        let earliest = row::integer_or_null(&found, "earliest")?.map(Timestamp);
        counts.earliest_not_after = counts.earliest_not_after.into_iter().chain(earliest).min();
        last = last.max(Some(row::text(&found, "last")?));
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use certward_test_support::PostgresServer;
    use sqlx::AssertSqlSafe;

    use super::*;
    use crate::{Address, MasterKey, Servers, Store, SystemClock};

    async fn execute(store: &Store, sql: &str) {
        let mut tx = store.inner.engine().expect("open").begin().await.expect("a transaction");
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut *tx).await.expect(sql);
        tx.commit().await.expect("committed");
    }

    async fn rows(store: &Store, sql: &str) -> Vec<(String, i64, Option<i64>)> {
        let mut conn = store.inner.engine().expect("open").read().await.expect("a connection");
        let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut *conn).await.expect(sql);
        let read = |row| {
            let text = row::text(row, "name").expect("a text");
            (
                text,
                row::integer(row, "n").expect("a number"),
                row::integer_or_null(row, "m").expect("a number"),
            )
        };
        rows.iter().map(read).collect()
    }

    /// In all states, not created by id order.
    async fn populate(store: &Store) {
        let states = ["absent", "pending", "running", "failed", "terminated", "running", "running"];
        for number in 0..40 {
            let (id, state) = (number * 7 % 40, states[number % states.len()]);
            let version = if state == "absent" { "NULL".to_owned() } else { id.to_string() };
            let insert = format!(
                "INSERT INTO deployment (id, project, name, upstream, created_at, generation, tls_state, tls_version,
                                         tls_deadline, tls_reason)
                 VALUES ('d-{id:03}', 'default', '', '127.0.0.1:1883', 0, 1, '{state}', {version}, 1, 'r')"
            );
            execute(store, &insert).await;
            for (version, ends) in [(id, 1_000 + id), (id + 1_000, 5)] {
                let insert = format!(
                    "INSERT INTO version (deployment, version, tls_type, chain, client_cas, trust_scope, not_after,
                                          findings, created_at, proven)
                     VALUES ('d-{id:03}', {version}, 'one-way', '', '', '', {ends}, '[]', 0, 0)"
                );
                execute(store, &insert).await;
            }
        }
    }

    async fn assert_counts_the_whole(store: &Store) {
        assert_eq!(store.read().status_counts_by(3).await.expect("counted"), StatusCounts::default());
        populate(store).await;
        let counted = rows(
            store,
            "SELECT d.tls_state AS name, count(*) AS n, min(v.not_after) AS m FROM deployment d
             LEFT JOIN version v ON v.deployment = d.id AND v.version = d.tls_version GROUP BY d.tls_state",
        )
        .await;
        let of = |state| counted.iter().find(|(name, ..)| name == state).map_or(0, |(_, n, _)| *n as u64);
        let whole = StatusCounts {
            absent: of("absent"),
            pending: of("pending"),
            running: of("running"),
            failed: of("failed"),
            terminated: of("terminated"),
            earliest_not_after: counted.iter().filter_map(|(.., ends)| *ends).min().map(Timestamp),
        };
        assert!(counted.len() == 5 && whole.earliest_not_after.is_some());
        for page in [1, 2, 7, 39, 40, 41, COUNTED_AT_ONCE] {
            assert_eq!(store.read().status_counts_by(page).await.expect("counted"), whole, "pages of {page}");
        }
    }

    #[tokio::test]
    async fn what_is_counted_in_pages_of_any_size_is_the_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let server = PostgresServer::shared();
        let postgres = Servers::parse([server.database()]).expect("a URL");
        for address in [Address::Embedded(folder.path().join("data")), Address::Postgres(postgres)] {
            let store =
                Store::init(&address, &MasterKey::generate(), Arc::new(SystemClock)).await.expect("made");
            assert_counts_the_whole(&store).await;
        }
    }
}
