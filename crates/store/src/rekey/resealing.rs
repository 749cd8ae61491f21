//! Seals all records of a store or a replica again under one key, each with a new data key: records
//! are small, and a data key that the old master key opened is of no use for later copies.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{
    MasterKeyRing, Reader, Store, StoreError,
    engine::pool::transact,
    rekey::sealed_column::{RowKey, SEALED, SealedColumn, Swap},
    repo::rekey,
    sealed::{
        sealing::{Sealer, master_key_id},
        secret::{self, StoreKey},
    },
};

/// Rows per read and per transaction: some 500 KB of records, and 10 ms of SQLite's write lock.
const WINDOW: u32 = 200;
/// A pass that finds nothing is the proof. After a switch only a node of an older release writes
/// what a second pass finds.
const PASSES_MAX: u32 = 5;
/// SQLite's write lock is not fair: others get it in the pauses.
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// Tries of a transaction that another change may have won.
const TRIES: u32 = 3;
/// Until the readers of the moment have let SQLite's log be truncated.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_secs(10);
const CHECKPOINT_PAUSE: Duration = Duration::from_millis(100);

/// What a reseal did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Records that were sealed again.
    pub records: u64,
    /// Records that no held key opens, as table, row and version: damaged, and left as they are.
    pub damaged: Vec<String>,
}

impl Store {
    /// After [`Store::switch_master_key`]: seals all records under the store's key, while others
    /// read and write. Idempotent; a second call continues after a killed one. Calls `told` with
    /// the number of records so far.
    ///
    /// # Errors
    /// Also [`StoreError::WrongMasterKey`]. What was resealed is durable.
    pub async fn reseal(&self, mut told: impl FnMut(u64) + Send) -> Result<Resealed, StoreError> {
        let (to, read) = (self.key_to_reseal_under().await?, self.read());
        let mut all = Resealed::default();
        for pass in 1.. {
            let before = all.records;
            all.damaged.clear();
            for column in &SEALED {
                reseal_column(column, &self.inner.keys, &to, &read, self, &mut all, &mut told).await?;
            }
            if all.records == before {
                break;
            }
            if pass == PASSES_MAX {
                return Err(StoreError::unavailable(
                    "records are still written under the master key before; does a node of an older release run?",
                ));
            }
        }
        let (id, now) = (to.id(), self.now().await?);
        let begun = self.inner.engine()?.begin().await?;
        transact(begun, async |conn| rekey::mark_resealed(conn, id, now).await).await?;
        self.erase_log().await?;
        Ok(all)
    }

    /// Records that are not sealed under the store's key, damaged ones included.
    pub async fn count_unsealed(&self) -> Result<u64, StoreError> {
        let read = self.read();
        let key = read.run(async |conn| StoreKey::read(conn).await).await?.id;
        let mut count = 0;
        for column in &SEALED {
            let mut after = Some(RowKey::first());
            while let Some(from) = after {
                let page = read.run(async |conn| column.page(conn, &from, WINDOW).await).await?;
                let records = page.iter().filter_map(|(_, sealed)| sealed.as_deref());
                count += records.filter(|sealed| master_key_id(sealed) != Some(key)).count() as u64;
                after = next(page);
            }
        }
        Ok(count)
    }

    async fn key_to_reseal_under(&self) -> Result<std::sync::Arc<Sealer>, StoreError> {
        let keys = &self.inner.keys;
        self.read().run(async |conn| keys.sealer(secret::verify(conn, keys).await?.id)).await
    }

    /// SQLite's log holds pages of before.
    async fn erase_log(&self) -> Result<(), StoreError> {
        let begin = Instant::now();
        while !self.inner.engine()?.checkpoint_all().await? {
            if begin.elapsed() > CHECKPOINT_TIMEOUT {
                tracing::warn!(
                    "the write-ahead log store.db-wal still holds records of before: a reader keeps it; it is truncated later"
                );
                break;
            }
            sleep(CHECKPOINT_PAUSE).await;
        }
        Ok(())
    }
}

/// What is resealed: a store, or a replica.
pub(crate) trait SealedRecords: Sync {
    /// In one durable transaction.
    fn swap(
        &self,
        column: &SealedColumn,
        swaps: &[Swap],
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

impl SealedRecords for Store {
    async fn swap(&self, column: &SealedColumn, swaps: &[Swap]) -> Result<u64, StoreError> {
        let mut tries = 1;
        loop {
            let begun = self.inner.engine()?.begin().await?;
            match transact(begun, async |conn| column.swap(conn, swaps).await).await {
                Err(StoreError::Unavailable(_)) if tries < TRIES => tries += 1,
                swapped => return swapped,
            }
        }
    }
}

/// Except the check value: it is replaced with its store's, by the switch or by a replica.
pub(crate) async fn reseal_column(
    column: &SealedColumn,
    keys: &MasterKeyRing,
    to: &Sealer,
    read: &Reader,
    records: &impl SealedRecords,
    all: &mut Resealed,
    told: &mut (impl FnMut(u64) + Send),
) -> Result<(), StoreError> {
    let mut after = Some(RowKey::first());
    while let Some(from) = after {
        let begin = Instant::now();
        let page = read.run(async |conn| column.page(conn, &from, WINDOW).await).await?;
        let swaps = swaps(column, keys, to, &page, &mut all.damaged)?;
        after = next(page);
        if !swaps.is_empty() {
            all.records += records.swap(column, &swaps).await?;
            told(all.records);
            sleep(begin.elapsed().min(PAUSE_MAX)).await;
        }
    }
    Ok(())
}

/// The next window begins after the last row; a page that is not full is the last.
fn next(mut page: Vec<(RowKey, Option<Vec<u8>>)>) -> Option<RowKey> {
    let is_full = page.len() as u64 >= u64::from(WINDOW);
    page.pop().filter(|_| is_full).map(|(key, _)| key)
}

fn swaps(
    column: &SealedColumn,
    keys: &MasterKeyRing,
    to: &Sealer,
    page: &[(RowKey, Option<Vec<u8>>)],
    damaged: &mut Vec<String>,
) -> Result<Vec<Swap>, StoreError> {
    let mut swaps = Vec::new();
    for (key, sealed) in page {
        let Some(sealed) = sealed.as_ref().filter(|sealed| master_key_id(sealed) != Some(to.id())) else {
            continue;
        };
        let place = column.place(key);
        if place.table == "secret" && place.row == secret::CHECK {
            continue;
        }
        match keys.open(place, sealed) {
            Ok(plain) => {
                let resealed = to.seal(place, &plain)?;
                swaps.push(Swap { key: key.clone(), from: sealed.clone(), to: resealed });
            }
            Err(_) => damaged.push(place.to_string()),
        }
    }
    Ok(swaps)
}
