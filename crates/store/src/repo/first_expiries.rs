use std::collections::BinaryHeap;

use sqlx::AnyConnection;

use crate::{DeploymentId, Reader, StoreError, Timestamp, engine::row};

/// As for the counts by state.
const READ_AT_ONCE: u32 = 2_000;

/// The certificates that end first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FirstExpiries {
    /// notAfter of the newest uploads' leaves; the first to end first.
    pub first: Vec<(DeploymentId, Timestamp)>,
    /// Deployments whose certificates end later.
    pub left_out: u64,
}

impl Reader {
    /// The `max` certificates that end first, read in pages.
    pub async fn first_expiries(&self, max: usize) -> Result<FirstExpiries, StoreError> {
        self.first_expiries_by(max, READ_AT_ONCE).await
    }

    async fn first_expiries_by(&self, max: usize, page: u32) -> Result<FirstExpiries, StoreError> {
        // Its greatest is the last to end.
        let mut kept = BinaryHeap::with_capacity(max.saturating_add(1).min(1024));
        let mut left_out = 0;
        let mut after = Some(String::new());
        while let Some(from) = after {
            // Others use the connection between pages.
            let read = self.run(async |conn| read_page(conn, &from, page).await).await?;
            after = read.last().map(|(id, _)| id.clone());
            for (id, not_after) in read {
                let Some(not_after) = not_after else { continue };
                kept.push((not_after, id));
                if kept.len() > max {
                    kept.pop();
                    left_out += 1;
                }
            }
        }
        let parsed = kept.into_sorted_vec().into_iter().map(|(not_after, id)| {
            let id = DeploymentId::parse(&id).map_err(|_| row::unreadable("id"))?;
            Ok((id, not_after))
        });
        Ok(FirstExpiries { first: parsed.collect::<Result<_, StoreError>>()?, left_out })
    }
}

/// A page of at most `limit` deployments, each with its certificate's notAfter, if any.
async fn read_page(
    conn: &mut AnyConnection,
    after: &str,
    limit: u32,
) -> Result<Vec<(String, Option<Timestamp>)>, StoreError> {
    let rows = sqlx::query(
        "SELECT d.id AS id, v.not_after AS not_after
         FROM (SELECT id, tls_version FROM deployment WHERE id > $1 ORDER BY id LIMIT $2) d
         LEFT JOIN version v ON v.deployment = d.id AND v.version = d.tls_version ORDER BY d.id",
    )
    .bind(after)
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await?;
    let read = |found| {
        let not_after = row::integer_or_null(found, "not_after")?.map(Timestamp);
        Ok((row::text(found, "id")?, not_after))
    };
    rows.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use certward_test_support::PostgresServer;
    use sqlx::AssertSqlSafe;

    use super::*;
    use crate::{Address, MasterKey, Servers, Store, SystemClock};

    /// Forty deployments; each third has no certificate, the others end in no order of their ids.
    async fn populate(store: &Store) -> Vec<(DeploymentId, Timestamp)> {
        let mut expected = Vec::new();
        for number in 0..40_i64 {
            let ends = 1_000 + number * 7 % 40;
            let (state, version) = if number % 3 == 0 { ("absent", "NULL") } else { ("running", "2") };
            let sql = format!(
                "INSERT INTO deployment (id, project, name, upstream, created_at, generation, tls_state, tls_version)
                 VALUES ('d-{number:03}', 'default', '', '127.0.0.1:1883', 0, 1, '{state}', {version});
                 INSERT INTO version (deployment, version, tls_type, chain, client_cas, trust_scope, not_after,
                                      findings, created_at, proven)
                 VALUES ('d-{number:03}', 1, 'one-way', '', '', '', 1, '[]', 0, 1),
                        ('d-{number:03}', 2, 'one-way', '', '', '', {ends}, '[]', 0, 0)"
            );
            let mut tx = store.inner.engine().expect("open").begin().await.expect("a transaction");
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await.expect("inserted");
            tx.commit().await.expect("committed");
            if version != "NULL" {
                let id = DeploymentId::parse(&format!("d-{number:03}")).expect("an id");
                expected.push((id, Timestamp(ends)));
            }
        }
        expected.sort_by_key(|(_, ends)| *ends);
        expected
    }

    #[tokio::test]
    async fn the_first_to_end_are_found_in_pages_of_any_size_and_the_others_are_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let server = PostgresServer::shared();
        let postgres = Servers::parse([server.database()]).expect("a URL");
        for address in [Address::Embedded(folder.path().join("data")), Address::Postgres(postgres)] {
            let store =
                Store::init(&address, &MasterKey::generate(), Arc::new(SystemClock)).await.expect("made");
            assert_eq!(store.read().first_expiries_by(9, 3).await.expect("read"), FirstExpiries::default());
            let expected = populate(&store).await;
            for (max, page) in [(0, 7), (1, 1), (5, 39), (26, 40), (100, READ_AT_ONCE)] {
                let found = store.read().first_expiries_by(max, page).await.expect("read");
                let shown = max.min(expected.len());
                assert_eq!(found.first, expected[..shown], "{max} in pages of {page}");
                assert_eq!(found.left_out, (expected.len() - shown) as u64, "{max} in pages of {page}");
            }
        }
    }
}
