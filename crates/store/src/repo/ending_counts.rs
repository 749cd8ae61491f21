use std::time::Duration;

use sqlx::{AnyConnection, AssertSqlSafe};

use crate::{
    EndingKind, Reader, StoreError, Timestamp, engine::row, model::ending::kind, repo::ending::CURRENT,
};

/// Of [`EndingCount::within`], in days.
pub const ENDING_WITHIN_DAYS: [u32; 3] = [1, 7, 30];

/// Each looks up its owner, on a cold disk at 0.5 ms: 1 s, a fifth of the statement timeout.
const COUNTED_AT_ONCE: u32 = 2_000;

/// How many of a kind have ended, or end soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndingCount {
    /// Of a deployment's each certificate counts.
    pub kind: EndingKind,
    /// Have ended.
    pub ended: u64,
    /// End within [`ENDING_WITHIN_DAYS`]; the longer periods include the shorter ones.
    pub within: [u64; 3],
}

impl EndingCount {
    /// Nothing, of each kind.
    pub fn none() -> [Self; EndingKind::ALL.len()] {
        EndingKind::ALL.map(|kind| Self { kind, ended: 0, within: [0; 3] })
    }

    fn add(&mut self, ends_at: Timestamp, now: Timestamp) {
        if ends_at <= now {
            self.ended += 1;
            return;
        }
        for (count, end) in self.within.iter_mut().zip(horizons(now)) {
            *count += u64::from(ends_at <= end);
        }
    }
}

fn horizons(now: Timestamp) -> [Timestamp; 3] {
    ENDING_WITHIN_DAYS.map(|days| now.after(Duration::from_secs(u64::from(days) * 24 * 60 * 60)))
}

impl Reader {
    /// Counts what has ended or ends within 30 days, by kind, in pages.
    pub async fn ending_counts(
        &self,
        now: Timestamp,
    ) -> Result<[EndingCount; EndingKind::ALL.len()], StoreError> {
        self.ending_counts_by(COUNTED_AT_ONCE, now).await
    }

    async fn ending_counts_by(
        &self,
        page: u32,
        now: Timestamp,
    ) -> Result<[EndingCount; EndingKind::ALL.len()], StoreError> {
        let mut counts = EndingCount::none();
        let mut after = Some((i64::MIN, 0));
        while let Some(from) = after {
            // Others use the connection between pages.
            after = self.run(async |conn| add_page(conn, &mut counts, from, page, now).await).await?;
        }
        Ok(counts)
    }
}

/// Returns where to continue.
async fn add_page(
    conn: &mut AnyConnection,
    counts: &mut [EndingCount],
    after: (i64, i64),
    limit: u32,
    now: Timestamp,
) -> Result<Option<(i64, i64)>, StoreError> {
    let sql = format!(
        "SELECT e.kind, e.ends_at, e.number FROM ending e
         WHERE (e.ends_at, e.number) > ($1, $2) AND e.ends_at <= $3 AND {CURRENT}
         ORDER BY e.ends_at, e.number LIMIT $4"
    );
    // Safe: a fixed text.
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(after.0)
        .bind(after.1)
        .bind(horizons(now)[2].0)
        .bind(i64::from(limit))
        .fetch_all(conn)
        .await?;
    let mut last = None;
    for row in &rows {
        let (kind, ends_at) = (kind(row)?, row::integer(row, "ends_at")?);
        counts
            .iter_mut()
            .filter(|count| count.kind == kind)
            .for_each(|count| count.add(Timestamp(ends_at), now));
        last = Some((ends_at, row::integer(row, "number")?));
    }
    Ok(last.filter(|_| rows.len() == limit as usize))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use certward_test_support::PostgresServer;

    use super::*;
    use crate::{Address, Ending, EndingOwner, MasterKey, NodeId, Servers, Store, SystemClock};

    const DAY: i64 = 24 * 60 * 60 * 1000;

    async fn populate(store: &Store) {
        for number in 0..40 {
            let node = NodeId::parse(&format!("n{number}")).expect("an id");
            let ending = Ending {
                kind: EndingKind::ApiCertificate,
                item: format!("c{number}"),
                subject: String::new(),
                begins_at: Timestamp(0),
                ends_at: Timestamp(number % 20 * DAY),
            };
            let mut tx = store.begin().await.expect("a transaction");
            tx.set_endings(&EndingOwner::node(&node), &[(ending, None)]).await.expect("written");
            tx.commit().await.expect("committed");
        }
    }

    #[tokio::test]
    async fn pages_of_any_size_count_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let server = PostgresServer::shared();
        let postgres = Servers::parse([server.database()]).expect("a URL");
        for address in [Address::Embedded(folder.path().join("data")), Address::Postgres(postgres)] {
            let store =
                Store::init(&address, &MasterKey::generate(), Arc::new(SystemClock)).await.expect("made");
            populate(&store).await;
            // Two end each day, from day 0 to 19.
            for (now, ended, within) in [
                (-1, 0, [2, 14, 40]),
                (0, 2, [2, 14, 38]),
                (5, 12, [2, 14, 28]),
                (25, 40, [0; 3]),
                (-40, 0, [0; 3]),
            ] {
                for page in [1, 3, 39, 40, 41, COUNTED_AT_ONCE] {
                    let counts =
                        store.read().ending_counts_by(page, Timestamp(now * DAY)).await.expect("counted");
                    for count in counts {
                        let expected = match count.kind {
                            EndingKind::ApiCertificate => (ended, within),
                            _ => (0, [0; 3]),
                        };
                        assert_eq!((count.ended, count.within), expected, "day {now}, pages of {page}");
                    }
                }
            }
        }
    }
}
