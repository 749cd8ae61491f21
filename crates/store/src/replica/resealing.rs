use sqlx::AnyConnection;

use crate::{
    CopyError, Replica, Store, StoreError,
    rekey::{
        resealing::{Resealed, SealedRecords, reseal_column},
        sealed_column::{SEALED, SealedColumn, Swap},
    },
    replica::origin::StoreOrigin,
};

impl Replica {
    /// Whether it is sealed under another master key than all records of the store.
    pub fn is_outdated(&self) -> bool {
        self.keys().is_replica_outdated()
    }

    /// Resolves once it is.
    pub async fn outdated(&self) {
        self.keys().replica_outdated().await;
    }

    /// Seals its records under the store's master key, durably; what was erased is overwritten.
    /// Only its one writer may call this, when the store has no other records: later copies have
    /// none.
    ///
    /// # Errors
    /// [`CopyError`]; a second call continues. [`StoreError::Sealed`] names a record that no held
    /// key opens.
    pub async fn reseal(&self, store: &Store) -> Result<(), CopyError> {
        let origin = store.read().run(async |conn| StoreOrigin::read(conn).await).await;
        let origin = origin.map_err(CopyError::Store)?;
        self.reseal_as(&origin).await.map_err(CopyError::Replica)
    }

    async fn reseal_as(&self, origin: &StoreOrigin) -> Result<(), StoreError> {
        let (keys, read) = (self.keys(), self.read());
        let to = keys.sealer(origin.key.id)?;
        let mut all = Resealed::default();
        for column in &SEALED {
            reseal_column(column, keys, &to, &read, self, &mut all, &mut |_| {}).await?;
        }
        if let Some(damaged) = all.damaged.pop() {
            return Err(StoreError::Sealed(damaged));
        }
        // Last: the check value says which key all of the rest has.
        self.write(async |conn: &mut AnyConnection| origin.write(conn).await).await?;
        self.checkpoint().await?;
        keys.set_replica(Some(origin.key.oldest()));
        tracing::info!(records = all.records, master_key = %origin.key.id, "this node's snapshot is sealed again");
        Ok(())
    }
}

impl SealedRecords for Replica {
    async fn swap(&self, column: &SealedColumn, swaps: &[Swap]) -> Result<u64, StoreError> {
        self.write(async |conn| column.swap(conn, swaps).await).await
    }
}
