use sqlx::AnyConnection;

use crate::{DeploymentId, Generation, StoreError, Timestamp, row};

/// One row of the change feed: this deployment changed, was made or was removed.
///
/// The row says only *that*; what is true now, the reader asks the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedEntry {
    /// The sequence number, which is the generation that the change drew.
    pub generation: Generation,
    /// The deployment that changed.
    pub deployment: DeploymentId,
}

/// Draws the next generation. The row of the counter stays locked until the transaction ends: the order of the
/// numbers is the order of the commits, and a reader that has seen one will never find a smaller one later. A draw
/// that is rolled back gives its number back, which nobody has seen.
pub(crate) async fn draw(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    now: Timestamp,
) -> Result<Generation, StoreError> {
    let row = sqlx::query("UPDATE counter SET value = value + 1 WHERE name = 'generation' RETURNING value")
        .fetch_one(&mut *conn)
        .await?;
    let generation = row::integer(&row, "value")?;
    sqlx::query("INSERT INTO feed (generation, deployment, at) VALUES ($1, $2, $3)")
        .bind(generation)
        .bind(deployment.as_str())
        .bind(now.0)
        .execute(conn)
        .await?;
    Ok(Generation(generation))
}

pub(crate) async fn newest(conn: &mut AnyConnection) -> Result<Generation, StoreError> {
    counter(conn, "generation").await.map(Generation)
}

/// `None` where rows after `after` are gone, or where `after` was never drawn (the store is a restored older one).
pub(crate) async fn after(
    conn: &mut AnyConnection,
    after: Generation,
    limit: u32,
) -> Result<Option<Vec<FeedEntry>>, StoreError> {
    let rows = sqlx::query(
        "SELECT generation, deployment FROM feed WHERE generation > $1 ORDER BY generation LIMIT $2",
    )
    .bind(after.0)
    .bind(i64::from(limit))
    .fetch_all(&mut *conn)
    .await?;
    // Read after the rows: what was pruned before they were read is known by now.
    if after.0 < counter(conn, "feed_pruned").await? || after > newest(conn).await? {
        return Ok(None);
    }
    let read = |row| {
        Ok(FeedEntry {
            generation: Generation(row::integer(row, "generation")?),
            deployment: row::deployment_id(row, "deployment")?,
        })
    };
    rows.iter().map(read).collect::<Result<_, _>>().map(Some)
}

/// One row as it stands, to see whether two histories are one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Landmark {
    pub(crate) generation: Generation,
    deployment: String,
    at: i64,
}

/// `None`: it was never drawn, or is pruned.
pub(crate) async fn landmark(
    conn: &mut AnyConnection,
    generation: Generation,
) -> Result<Option<Landmark>, StoreError> {
    let row = sqlx::query("SELECT deployment, at FROM feed WHERE generation = $1")
        .bind(generation.0)
        .fetch_optional(conn)
        .await?;
    row.map(|row| {
        Ok(Landmark { generation, deployment: row::text(&row, "deployment")?, at: row::integer(&row, "at")? })
    })
    .transpose()
}

/// Whether the rows up to `generation` are gone.
pub(crate) async fn is_pruned(conn: &mut AnyConnection, generation: Generation) -> Result<bool, StoreError> {
    Ok(generation.0 <= counter(conn, "feed_pruned").await?)
}

/// Keeps this row and no other.
pub(crate) async fn keep_only(conn: &mut AnyConnection, landmark: &Landmark) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM feed").execute(&mut *conn).await?;
    sqlx::query("INSERT INTO feed (generation, deployment, at) VALUES ($1, $2, $3)")
        .bind(landmark.generation.0)
        .bind(landmark.deployment.as_str())
        .bind(landmark.at)
        .execute(conn)
        .await?;
    Ok(())
}

/// Removes at most `limit` rows that were written before `before`; returns whether there may be more.
pub(crate) async fn prune(
    conn: &mut AnyConnection,
    before: Timestamp,
    limit: u32,
) -> Result<bool, StoreError> {
    let pruned = counter(conn, "feed_pruned").await?;
    // From the oldest on and without a gap: a row beyond one that stays, stays too.
    let row = sqlx::query("SELECT max(generation) AS newest FROM feed WHERE generation <= $1 AND at < $2")
        .bind(pruned.saturating_add(i64::from(limit)))
        .bind(before.0)
        .fetch_one(&mut *conn)
        .await?;
    let Some(newest) = row::integer_or_null(&row, "newest")? else { return Ok(false) };
    let done =
        sqlx::query("DELETE FROM feed WHERE generation <= $1").bind(newest).execute(&mut *conn).await?;
    sqlx::query("UPDATE counter SET value = $1 WHERE name = 'feed_pruned' AND value < $1")
        .bind(newest)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() >= u64::from(limit))
}

async fn counter(conn: &mut AnyConnection, name: &'static str) -> Result<i64, StoreError> {
    let row = sqlx::query("SELECT value FROM counter WHERE name = $1").bind(name).fetch_one(conn).await?;
    row::integer(&row, "value")
}
