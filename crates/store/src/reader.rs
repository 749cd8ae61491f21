use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use sqlx::{Any, AnyConnection, AnyPool, Transaction, pool::PoolConnection};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::Instant,
};

use crate::{MasterKeyRing, StoreError, engine::pool::step, metrics::StoreWork, shared::StoreInner};

/// Reads of the store, of one snapshot of it, or of a replica; they are beside their tables, in
/// `repo`.
///
/// # Errors
/// Every read: [`StoreError::Unavailable`], [`StoreError::Corrupt`].
pub struct Reader {
    source: Source,
    pub(crate) keys: MasterKeyRing,
}

/// All but a snapshot take a connection for each read.
enum Source {
    Store(Arc<StoreInner>),
    /// With connections that requests do not use.
    Membership(Arc<StoreInner>),
    /// `None`: the replica is closed.
    Replica(Option<AnyPool>),
    Snapshot(Mutex<Transaction<'static, Any>>),
}

impl Reader {
    pub(crate) fn of_store(store: &Arc<StoreInner>) -> Self {
        Self { source: Source::Store(Arc::clone(store)), keys: store.keys.clone() }
    }

    pub(crate) fn of_membership(store: &Arc<StoreInner>) -> Self {
        Self { source: Source::Membership(Arc::clone(store)), keys: store.keys.clone() }
    }

    pub(crate) fn of_replica(pool: Option<AnyPool>, keys: &MasterKeyRing) -> Self {
        Self { source: Source::Replica(pool), keys: keys.clone() }
    }

    pub(crate) fn of_snapshot(transaction: Transaction<'static, Any>, keys: &MasterKeyRing) -> Self {
        Self { source: Source::Snapshot(Mutex::new(transaction)), keys: keys.clone() }
    }

    pub(crate) async fn run<T>(
        &self,
        work: impl AsyncFnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let read = async {
            let mut conn = self.connection().await?;
            step(work(&mut conn)).await
        };
        let result = read.await;
        if let Source::Store(store) | Source::Membership(store) = &self.source {
            store.metrics.done(StoreWork::Read, began, &result);
        }
        result
    }

    async fn connection(&self) -> Result<ReaderConnection<'_>, StoreError> {
        let pooled = match &self.source {
            Source::Store(store) => store.engine()?.read().await?,
            Source::Membership(store) => store.engine()?.read_as_member().await?,
            Source::Replica(Some(pool)) => pool.acquire().await?,
            Source::Replica(None) => return Err(StoreError::unavailable("there is no replica")),
            Source::Snapshot(transaction) => return Ok(ReaderConnection::Snapshot(transaction.lock().await)),
        };
        Ok(ReaderConnection::Pooled(pooled))
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.source {
            Source::Store(_) => "store",
            Source::Membership(_) => "store, as a member",
            Source::Replica(_) => "replica",
            Source::Snapshot(_) => "snapshot",
        };
        f.debug_struct("Reader").field("source", &source).finish_non_exhaustive()
    }
}

enum ReaderConnection<'a> {
    Pooled(PoolConnection<Any>),
    Snapshot(MutexGuard<'a, Transaction<'static, Any>>),
}

impl Deref for ReaderConnection<'_> {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        match self {
            Self::Pooled(conn) => conn,
            Self::Snapshot(transaction) => transaction,
        }
    }
}

impl DerefMut for ReaderConnection<'_> {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        match self {
            Self::Pooled(conn) => conn,
            Self::Snapshot(transaction) => transaction,
        }
    }
}
