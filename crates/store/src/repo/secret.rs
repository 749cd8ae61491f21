use zeroize::Zeroizing;

use crate::{Reader, Store, StoreError, engine::row, sealed::secret};

impl Reader {
    /// A sealed record of the program, if it exists.
    ///
    /// # Errors
    /// Also [`StoreError::Sealed`].
    pub async fn secret(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let name = of_the_program(name);
        self.run(async |conn| secret::find(conn, &self.keys, &name).await).await
    }
}

impl Store {
    /// A sealed record of the program (such as ticket keys), inserted if absent. Concurrent nodes
    /// get the same one.
    pub async fn secret_or_insert(
        &self,
        name: &str,
        make: Zeroizing<Vec<u8>>,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        if let Some(found) = self.read().secret(name).await? {
            return Ok(found);
        }
        let (name, keys) = (of_the_program(name), &self.inner.keys);
        let mut tx = self.begin().await?;
        let now = tx.now();
        let inserted = tx.step(async |conn| {
            let sealer = secret::sealer(conn, keys).await?;
            secret::insert(conn, &sealer, &name, &make, now).await?;
            secret::find(conn, keys, &name).await
        });
        let kept = inserted.await?;
        tx.commit().await?;
        kept.ok_or_else(|| StoreError::corrupt("a new sealed record is missing"))
    }

    /// Removes sealed records with `from <= name < before`, by bytes. Returns their number.
    pub async fn remove_secrets(&self, from: &str, before: &str) -> Result<u64, StoreError> {
        let (from, before) = (of_the_program(from), of_the_program(before));
        let mut tx = self.begin().await?;
        let removed = tx.step(async |conn| secret::remove(conn, &from, &before).await).await?;
        tx.commit().await?;
        Ok(removed)
    }
}

/// Separate from the store's own records.
pub(crate) fn of_the_program(name: &str) -> String {
    format!("program.{}", row::storable(name))
}
