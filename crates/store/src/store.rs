use std::{fmt, io, os::fd::OwnedFd, sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use sqlx::{Any, AnyConnection, Transaction};
use tokio::time::Instant;

use crate::{
    Address, Clock, MasterKeyRing, Reader, StoreError, Timestamp, Tx,
    engine::{
        data_folder::DataFolder,
        pool::{Engine, step, transact},
    },
    metrics::StoreWork,
    postgres::listen::ChangeListener,
    shared::StoreInner,
    topic::{Topic, WakeUp},
};

/// Readiness checks must not cost an fsync each.
const PING_CACHE_TIME: Duration = Duration::from_secs(1);

/// The store, cheap to clone.
///
/// # Errors
/// Every call: [`StoreError::Unavailable`]; reads also [`StoreError::Corrupt`].
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<StoreInner>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engine = self.inner.opened.get().map(|opened| &opened.engine);
        f.debug_struct("Store").field("engine", &engine).finish_non_exhaustive()
    }
}

impl Store {
    /// An unreachable store: every call is [`StoreError::Unavailable`] until [`Store::reach`]
    /// succeeds.
    pub fn away(address: Address, keys: impl Into<MasterKeyRing>, clock: Arc<dyn Clock>) -> Self {
        Self { inner: Arc::new(StoreInner::new(Some(address), keys.into(), clock)) }
    }

    /// Whether it has not been reached yet.
    pub fn is_away(&self) -> bool {
        self.inner.opened.get().is_none()
    }

    /// The store's clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// Registers the metrics `certward_store_…`.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.inner.metrics.register(registry);
    }

    /// Reads, each with a connection of its own.
    pub fn read(&self) -> Reader {
        Reader::of_store(&self.inner)
    }

    /// As [`Store::read`], with connections that requests do not use: all of theirs may wait for a
    /// joining node, which needs these reads.
    pub fn read_as_member(&self) -> Reader {
        Reader::of_membership(&self.inner)
    }

    pub(crate) async fn snapshot(&self) -> Result<Reader, StoreError> {
        let transaction = self.inner.engine()?.begin_reading().await?;
        Ok(Reader::of_snapshot(transaction, &self.inner.keys))
    }

    pub(crate) async fn snapshot_as_member(&self) -> Result<Reader, StoreError> {
        let transaction = self.inner.engine()?.begin_reading_as_member().await?;
        Ok(Reader::of_snapshot(transaction, &self.inner.keys))
    }

    /// Begins a write transaction. Waits up to 5 s for SQLite's writer.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        self.begin_with(async |engine| engine.begin().await).await
    }

    /// As [`Store::begin`], for a joining node: separate from requests.
    pub async fn begin_as_member(&self) -> Result<Tx, StoreError> {
        self.begin_with(async |engine| engine.begin_as_member().await).await
    }

    async fn begin_with(
        &self,
        begin: impl AsyncFnOnce(&Engine) -> Result<Transaction<'static, Any>, StoreError>,
    ) -> Result<Tx, StoreError> {
        let began = Instant::now();
        let begun = async {
            let engine = self.inner.engine()?;
            let epoch = engine.epoch();
            let mut transaction = begin(engine).await?;
            let now = step(engine.now(&mut transaction, self.inner.clock.as_ref())).await?;
            Ok(Tx::new(Arc::clone(&self.inner), transaction, now, began, epoch))
        };
        begun.await.inspect_err(|_| self.inner.metrics.failed(StoreWork::Write))
    }

    /// Resolves after a commit by this process, or by others that notify; may be late or spurious.
    /// Counts from the call on, not the first poll: call it before reading the feed.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut changes = self.inner.wake_ups.listen(Topic::Changes);
        async move { changes.next().await }
    }

    /// Wakes when another process asks all nodes.
    pub fn questions(&self) -> WakeUp {
        self.inner.wake_ups.listen(Topic::Questions)
    }

    /// Wakes when another process has answered a question.
    pub fn answers(&self) -> WakeUp {
        self.inner.wake_ups.listen(Topic::Answers)
    }

    /// Whether other processes may use it too; never an embedded store. `false` until it is
    /// reached.
    pub fn is_shared(&self) -> bool {
        self.inner.opened.get().is_some_and(|opened| opened.engine.tracker().is_some())
    }

    /// Resolves when the store recovers or another server takes over, never for an embedded store.
    /// Counts from the call on, not the first poll.
    pub fn answers_again(&self) -> impl Future<Output = ()> + Send + use<> {
        let reached = self.inner.opened.get().is_none().then(|| self.changed());
        let tracker = self.inner.opened.get().and_then(|opened| opened.engine.tracker());
        let usable = tracker.map(|tracker| tracker.usable_again());
        async move {
            match (reached, usable) {
                (Some(reached), _) => reached.await,
                (None, Some(usable)) => usable.await,
                (None, None) => std::future::pending().await,
            }
        }
    }

    /// The time base of leases.
    pub async fn now(&self) -> Result<Timestamp, StoreError> {
        let engine = self.inner.engine()?;
        self.read().run(async |conn| engine.now(conn, self.inner.clock.as_ref()).await).await
    }

    /// Whether the store can write, for `/readyz`.
    pub async fn ping(&self) -> Result<(), StoreError> {
        // Concurrent callers share one answer.
        let mut pinged = self.inner.pinged.lock().await;
        if pinged.is_some_and(|at| at.elapsed() < PING_CACHE_TIME) {
            return Ok(());
        }
        let write = async |conn: &mut AnyConnection| {
            sqlx::query("UPDATE counter SET value = value + 1 WHERE name = 'ping'").execute(conn).await?;
            Ok(())
        };
        let began = Instant::now();
        let written = async { transact(self.inner.engine()?.begin().await?, write).await }.await;
        self.inner.metrics.done(StoreWork::Write, began, &written);
        written?;
        *pinged = Some(Instant::now());
        Ok(())
    }

    /// Waits for connections in use; on SQLite truncates the WAL.
    pub async fn close(&self) {
        if let Some(opened) = self.inner.opened.get() {
            opened.listener.as_ref().map(ChangeListener::end);
            opened.engine.close().await;
        }
    }

    /// An embedded store's lock, for the successor.
    ///
    /// # Errors
    /// [`io::Error`], such as no free file descriptor.
    pub fn share_folder(&self) -> io::Result<Option<OwnedFd>> {
        self.folder().map_or(Ok(None), DataFolder::share_lock)
    }

    /// Releases the folder to another process; both may use the store.
    pub fn release_folder(&self) {
        if let Some(folder) = self.folder() {
            folder.release();
        }
    }

    /// Takes the folder after [`Store::open_beside`], with the lock handed over.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if it is not this folder's lock.
    pub fn adopt_folder(&self, lock: OwnedFd) -> Result<(), StoreError> {
        self.folder().map_or(Ok(()), |folder| folder.adopt(lock))
    }

    /// Takes the folder after [`Store::open_beside`], if its process has exited.
    ///
    /// # Errors
    /// [`StoreError::InUse`].
    pub fn take_folder(&self) -> Result<(), StoreError> {
        self.folder().map_or(Ok(()), DataFolder::lock)
    }

    /// An embedded store is never away.
    fn folder(&self) -> Option<&DataFolder> {
        self.inner.opened.get().and_then(|opened| opened.engine.folder())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AuditEntry, AuditOrigin, AuditPage, DeploymentId, Generation, MasterKey, SystemClock};

    fn filler() -> AuditEntry {
        AuditEntry { detail: "x".repeat(10_000), ..AuditEntry::new(AuditOrigin::certward(), "fill", "s") }
    }

    #[tokio::test]
    async fn a_full_disk_is_unavailable_commits_nothing_and_is_got_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let address = Address::Embedded(folder.path().join("data"));
        let store = Store::init(&address, &MasterKey::generate(), Arc::new(SystemClock)).await.expect("made");
        store.inner.engine().expect("open").limit_pages(100).await.expect("limited");
        let mut tx = store.begin().await.expect("a transaction");
        tx.draw_generation(&DeploymentId::parse("a").expect("an id")).await.expect("a generation");
        (0..100).for_each(|_| tx.audit(filler()));
        let refused = tx.commit().await.expect_err("no false yes");
        assert!(matches!(refused, StoreError::Unavailable(_)));
        assert!(refused.to_string().contains("full"), "{refused}");
        assert_eq!(store.read().newest_generation().await.expect("read"), Generation(0));
        let all = AuditPage { limit: 9, ..AuditPage::default() };
        assert!(store.read().audit(&all).await.expect("read").is_empty());
        store.inner.engine().expect("open").limit_pages(100_000).await.expect("limited");
        let mut tx = store.begin().await.expect("a transaction");
        tx.audit(filler());
        tx.commit().await.expect("committed");
        assert_eq!(store.read().audit(&all).await.expect("read").len(), 2, "with the chain's first row");
    }
}
