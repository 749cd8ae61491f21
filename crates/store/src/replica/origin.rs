use sqlx::AnyConnection;

use crate::{
    StoreError,
    repo::rekey::{self, Rekey},
    sealed::secret::{self, StoreKey},
};

/// Which store a replica copies, and the master key of its records.
pub(crate) struct StoreOrigin {
    check: Vec<u8>,
    pub(crate) key: StoreKey,
    /// The newest, with the store's identity.
    rekey: Option<(Rekey, String)>,
}

impl StoreOrigin {
    pub(crate) async fn read(conn: &mut AnyConnection) -> Result<Self, StoreError> {
        let check = secret::sealed_check(conn).await?.ok_or(StoreError::NotInitialised)?;
        let rekey = rekey::newest(conn).await?.zip(rekey::identity(conn).await?);
        Ok(Self { key: StoreKey::read(conn).await?, check, rekey })
    }

    /// Into a new replica, or one of the same store.
    pub(crate) async fn write(&self, conn: &mut AnyConnection) -> Result<(), StoreError> {
        rekey::replace(conn, self.rekey.as_ref()).await?;
        secret::write_check(conn, &self.check).await
    }
}
