use sqlx::{AnyConnection, any::AnyRow};

use crate::{DeploymentId, Generation, Reader, StoreError, Timestamp, Tx, engine::row, sealed::random};

/// A row of the change feed, by number and nonce.
///
/// Numbers order one history. After a fail-over that lost rows, or a restored backup, they repeat
/// with other random nonces. A store that has the row has the history up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FeedPosition {
    /// The number.
    pub generation: Generation,
    /// 0 for rows of an older release.
    pub nonce: i64,
}

impl FeedPosition {
    /// In every history, before the first row.
    pub const START: Self = Self { generation: Generation(0), nonce: 0 };

    fn read(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            generation: Generation(row::integer(row, "generation")?),
            nonce: row::integer(row, "nonce")?,
        })
    }

    /// The later of two positions in one history.
    pub fn later(self, other: Self) -> Self {
        if other.generation > self.generation { other } else { self }
    }
}

/// A deployment changed, was made or removed; its state is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedEntry {
    /// The row.
    pub position: FeedPosition,
    /// Its deployment.
    pub deployment: DeploymentId,
}

impl FeedEntry {
    /// The change's generation.
    pub fn generation(&self) -> Generation {
        self.position.generation
    }
}

/// The feed after a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedPage {
    /// The next rows, oldest first; empty at the end.
    Rows(Vec<FeedEntry>),
    /// Later rows are pruned: the reader must read everything.
    Pruned,
    /// Another history: what the reader holds may never have existed.
    OtherHistory,
}

impl Reader {
    /// The newest generation; `Generation(0)` in an empty store.
    pub async fn newest_generation(&self) -> Result<Generation, StoreError> {
        self.run(async |conn| newest(conn).await).await
    }

    /// The newest feed row; [`FeedPosition::START`] in an empty store. For
    /// [`crate::Store::read_as_member`].
    pub async fn newest_position(&self) -> Result<FeedPosition, StoreError> {
        self.run(async |conn| newest_position(conn).await).await
    }

    /// At most `limit` feed rows after `after`. `held`: the newest position that the caller holds,
    /// checked against the store's history. For [`crate::Store::read_as_member`].
    pub async fn feed_after(
        &self,
        after: FeedPosition,
        held: FeedPosition,
        limit: u32,
    ) -> Result<FeedPage, StoreError> {
        self.run(async |conn| rows_after(conn, after, held, limit).await).await
    }
}

impl Tx {
    /// Whether the store's history has this row, unpruned.
    pub async fn has(&mut self, position: FeedPosition) -> Result<bool, StoreError> {
        let ancestry = self.step(async |conn| ancestry(conn, position).await).await?;
        Ok(ancestry == Ancestry::Own)
    }

    /// Draws the next generation, with the deployment's feed row.
    pub async fn draw_generation(&mut self, deployment: &DeploymentId) -> Result<Generation, StoreError> {
        let now = self.now;
        self.change(async |conn| draw(conn, deployment, now).await).await
    }
}

/// The counter's row stays locked until the transaction ends: numbers follow the order of commits,
/// and no reader finds a smaller one later.
pub(crate) async fn draw(
    conn: &mut AnyConnection,
    deployment: &DeploymentId,
    now: Timestamp,
) -> Result<Generation, StoreError> {
    let row = sqlx::query("UPDATE counter SET value = value + 1 WHERE name = 'generation' RETURNING value")
        .fetch_one(&mut *conn)
        .await?;
    let generation = row::integer(&row, "value")?;
    sqlx::query("INSERT INTO feed (generation, deployment, at, nonce) VALUES ($1, $2, $3, $4)")
        .bind(generation)
        .bind(deployment.as_str())
        .bind(now.0)
        .bind(random::nonzero())
        .execute(conn)
        .await?;
    Ok(Generation(generation))
}

pub(crate) async fn newest(conn: &mut AnyConnection) -> Result<Generation, StoreError> {
    counter(conn, "generation").await.map(Generation)
}

/// The nonce is 0 if an older release pruned the row.
pub(crate) async fn newest_position(conn: &mut AnyConnection) -> Result<FeedPosition, StoreError> {
    // One statement, for concurrent draws.
    let row = sqlx::query(
        "SELECT c.value AS generation, coalesce(f.nonce, 0) AS nonce FROM counter c
         LEFT JOIN feed f ON f.generation = c.value WHERE c.name = 'generation'",
    )
    .fetch_one(conn)
    .await?;
    FeedPosition::read(&row)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ancestry {
    Own,
    Pruned,
    Foreign,
}

pub(crate) async fn ancestry(
    conn: &mut AnyConnection,
    position: FeedPosition,
) -> Result<Ancestry, StoreError> {
    let Some(found) = landmark(conn, position.generation).await? else {
        if position == FeedPosition::START {
            return Ok(Ancestry::Own);
        }
        // After the row, to notice a concurrent prune.
        let pruned = counter(conn, "feed_pruned").await?;
        return Ok(if position.generation.0 > pruned {
            Ancestry::Foreign
        } else if position.nonce == 0 && position.generation == newest(conn).await? {
            // An older release pruned the newest row.
            Ancestry::Own
        } else {
            Ancestry::Pruned
        });
    };
    Ok(if found.position == position { Ancestry::Own } else { Ancestry::Foreign })
}

async fn rows_after(
    conn: &mut AnyConnection,
    after: FeedPosition,
    held: FeedPosition,
    limit: u32,
) -> Result<FeedPage, StoreError> {
    let rows = sqlx::query(
        "SELECT generation, deployment, nonce FROM feed WHERE generation > $1 ORDER BY generation LIMIT $2",
    )
    .bind(after.generation.0)
    .bind(i64::from(limit))
    .fetch_all(&mut *conn)
    .await?;
    match ancestry(conn, after.later(held)).await? {
        Ancestry::Own => {}
        Ancestry::Pruned => return Ok(FeedPage::Pruned),
        Ancestry::Foreign => return Ok(FeedPage::OtherHistory),
    }
    // After the rows, to notice a concurrent prune.
    if after.generation.0 < counter(conn, "feed_pruned").await? {
        return Ok(FeedPage::Pruned);
    }
    let read = |row| {
        Ok(FeedEntry {
            position: FeedPosition::read(row)?,
            deployment: row::deployment_id(row, "deployment")?,
        })
    };
    rows.iter().map(read).collect::<Result<_, _>>().map(FeedPage::Rows)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FeedFingerprint {
    pub(crate) position: FeedPosition,
    deployment: String,
    at: i64,
}

/// `None`: never drawn, or pruned.
pub(crate) async fn landmark(
    conn: &mut AnyConnection,
    generation: Generation,
) -> Result<Option<FeedFingerprint>, StoreError> {
    let row = sqlx::query("SELECT generation, deployment, at, nonce FROM feed WHERE generation = $1")
        .bind(generation.0)
        .fetch_optional(conn)
        .await?;
    row.map(|row| {
        Ok(FeedFingerprint {
            position: FeedPosition::read(&row)?,
            deployment: row::text(&row, "deployment")?,
            at: row::integer(&row, "at")?,
        })
    })
    .transpose()
}

pub(crate) async fn is_pruned(conn: &mut AnyConnection, generation: Generation) -> Result<bool, StoreError> {
    Ok(generation.0 <= counter(conn, "feed_pruned").await?)
}

pub(crate) async fn keep_only(
    conn: &mut AnyConnection,
    landmark: &FeedFingerprint,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM feed").execute(&mut *conn).await?;
    sqlx::query("INSERT INTO feed (generation, deployment, at, nonce) VALUES ($1, $2, $3, $4)")
        .bind(landmark.position.generation.0)
        .bind(landmark.deployment.as_str())
        .bind(landmark.at)
        .bind(landmark.position.nonce)
        .execute(conn)
        .await?;
    Ok(())
}

/// Returns whether more may remain. The newest row stays, to check positions against.
pub(crate) async fn prune(
    conn: &mut AnyConnection,
    before: Timestamp,
    limit: u32,
) -> Result<bool, StoreError> {
    let pruned = counter(conn, "feed_pruned").await?;
    // Without gaps: a row after a kept one is kept.
    let row = sqlx::query(
        "SELECT max(generation) AS newest FROM feed WHERE generation <= $1 AND at < $2
         AND generation < (SELECT max(generation) FROM feed)",
    )
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
