use std::{fmt, sync::Arc};

use sqlx::{Any, AnyConnection, Transaction};
use tokio::time::Instant;

use crate::{
    AuditEntry, StoreError, Timestamp, audit::append::append, engine::pool, metrics::StoreWork,
    postgres::listen, shared::StoreInner, topic::Topic,
};

/// A step has a deadline, and a node that leaves may settle thousands of deployments.
const AUDIT_STEP_ROWS: usize = 100;

/// A write transaction, with its steps in `repo`. Dropped without [`Tx::commit`], it leaves no
/// trace.
///
/// On PostgreSQL [`Tx::deployment`] locks the row, to serialise its changes.
///
/// Lock order, against deadlocks (`lock.rs` has all of it): the acting key
/// ([`crate::Store::begin_as`], or [`crate::Store::begin_on_keys_as`] to change keys),
/// [`Tx::api_key`], [`Tx::project_to_remove`], [`Tx::hold_nodes`] or [`Tx::hold_changes`],
/// deployments, the generation, the audit (by [`Tx::commit`]).
///
/// After an error or a cancelled step, further steps and the commit are refused. (PostgreSQL would
/// answer the commit with a successful rollback.)
///
/// # Errors
/// Every step: [`StoreError::Unavailable`]; reads also [`StoreError::Corrupt`].
pub struct Tx {
    pub(crate) store: Arc<StoreInner>,
    pub(crate) now: Timestamp,
    transaction: Transaction<'static, Any>,
    began: Instant,
    epoch: u64,
    broken: bool,
    wakes: bool,
    audit: Vec<AuditEntry>,
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("now", &self.now).field("broken", &self.broken).finish_non_exhaustive()
    }
}

impl Tx {
    pub(crate) fn new(
        store: Arc<StoreInner>,
        transaction: Transaction<'static, Any>,
        now: Timestamp,
        began: Instant,
        epoch: u64,
    ) -> Self {
        Self { store, transaction, now, began, epoch, broken: false, wakes: false, audit: Vec::new() }
    }

    /// The transaction's time: PostgreSQL's own, or the injected clock's on SQLite.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Notes a row of the audit. It is appended by the commit, since all nodes wait for the lock
    /// on the chain's head: it must be the last one.
    pub fn audit(&mut self, entry: AuditEntry) {
        self.audit.push(entry);
    }

    /// Commits; fsync'd on return.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: nothing was changed, or (PostgreSQL, connection lost during the
    /// commit) it is unknown.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        // A write to a replaced server would be lost.
        if self.store.engine()?.epoch() != self.epoch {
            return Err(StoreError::unavailable("the database failed over during the change; try again"));
        }
        let store = Arc::clone(&self.store);
        let (audit, now) = (std::mem::take(&mut self.audit), self.now);
        for entries in audit.chunks(AUDIT_STEP_ROWS) {
            self.step(async |conn| append(conn, &store.keys, now, entries).await).await?;
        }
        if self.wakes {
            self.step(async |conn| listen::notify(conn, Topic::Changes, &store.notify_source).await).await?;
        }
        self.refuse_if_broken()?;
        let committed = pool::step(async { Ok(self.transaction.commit().await?) }).await;
        store.metrics.done(StoreWork::Write, self.began, &committed);
        committed?;
        if self.wakes {
            store.wake_ups.wake(Topic::Changes);
        }
        Ok(())
    }

    /// A step whose commit wakes no reader of the feed.
    pub(crate) async fn step<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.refuse_if_broken()?;
        // Cleared only on success: an error or a dropped future leaves it set.
        self.broken = true;
        let value = pool::step(work(&mut self.transaction)).await;
        let value = value.inspect_err(|_| self.store.metrics.failed(StoreWork::Write))?;
        self.broken = false;
        Ok(value)
    }

    /// A step whose commit wakes the readers of the feed.
    pub(crate) async fn change<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.wake();
        self.step(work).await
    }

    pub(crate) fn wake(&mut self) {
        self.wakes = true;
    }

    fn refuse_if_broken(&self) -> Result<(), StoreError> {
        match self.broken {
            true => Err(StoreError::unavailable("the transaction has failed already")),
            false => Ok(()),
        }
    }
}
