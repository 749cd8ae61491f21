use crate::{
    FeedPage, FeedPosition, Reader, Store, StoreError,
    repo::feed::{self, Ancestry},
};

/// A snapshot of the store and its place in history.
#[derive(Debug)]
pub struct Reading {
    reader: Reader,
    as_of: FeedPosition,
    continues: bool,
}

impl Store {
    /// A snapshot. `held`: the newest position that the caller holds.
    pub async fn reading(&self, held: FeedPosition) -> Result<Reading, StoreError> {
        Reading::begin(self.snapshot().await?, held).await
    }

    /// As [`Store::reading`], separate from requests.
    pub async fn reading_as_member(&self, held: FeedPosition) -> Result<Reading, StoreError> {
        Reading::begin(self.snapshot_as_member().await?, held).await
    }

    /// As [`Reader::feed_after`], separate from requests, with the rows' snapshot if there are any.
    pub async fn feed_reading(
        &self,
        after: FeedPosition,
        held: FeedPosition,
        limit: u32,
    ) -> Result<(FeedPage, Option<Reading>), StoreError> {
        let reader = self.snapshot_as_member().await?;
        let page = reader.feed_after(after, held, limit).await?;
        let reading = match &page {
            FeedPage::Rows(rows) if !rows.is_empty() => Some(Reading::begin(reader, held).await?),
            _ => None,
        };
        Ok((page, reading))
    }
}

impl Reading {
    async fn begin(reader: Reader, held: FeedPosition) -> Result<Self, StoreError> {
        let begun = async |conn: &mut _| {
            let newest = feed::newest_position(conn).await?;
            Ok((newest, feed::ancestry(conn, held).await?))
        };
        let (as_of, ancestry) = reader.run(begun).await?;
        Ok(Self { reader, as_of, continues: ancestry != Ancestry::Foreign })
    }

    /// Reads of the snapshot.
    pub fn read(&self) -> &Reader {
        &self.reader
    }

    /// The snapshot's newest feed row.
    pub fn as_of(&self) -> FeedPosition {
        self.as_of
    }

    /// Whether the store's history continues what the caller holds; else the two must not be mixed.
    pub fn continues(&self) -> bool {
        self.continues
    }

    /// As [`Reading::continues`], for a later `held`, which must not be newer than the snapshot.
    pub async fn continues_from(&self, held: FeedPosition) -> Result<bool, StoreError> {
        let ancestry = self.reader.run(async |conn| feed::ancestry(conn, held).await).await?;
        Ok(ancestry != Ancestry::Foreign)
    }
}
