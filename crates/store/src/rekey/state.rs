use sqlx::AnyConnection;

use crate::{
    MasterKeyId, MasterKeyRing, Rekey, Store, StoreError,
    repo::rekey,
    sealed::secret::{self, StoreKey},
};

/// The master key of the store, and its newest change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RekeyState {
    /// The key that new records are sealed under.
    pub key: MasterKeyId,
    /// The newest change, if there was any.
    pub newest: Option<Rekey>,
}

impl RekeyState {
    /// The change that is not finished.
    pub fn under_way(&self) -> Option<Rekey> {
        self.newest.filter(|rekey| rekey.finished_at.is_none())
    }
}

impl Store {
    /// Which master key the store has.
    pub async fn rekey_state(&self) -> Result<RekeyState, StoreError> {
        let state = async |conn: &mut AnyConnection| {
            let key = StoreKey::read(conn).await?.id;
            Ok(RekeyState { key, newest: rekey::newest(conn).await? })
        };
        self.read().run(state).await
    }

    /// The keys that this process holds; clones share them with the store.
    pub fn master_keys(&self) -> &MasterKeyRing {
        &self.inner.keys
    }

    /// Holds the keys that were read again, and those of before that are still needed: a reload
    /// never makes a record unreadable. Returns whether this changes anything.
    ///
    /// # Errors
    /// [`StoreError::WrongMasterKey`] or [`StoreError::MasterKeyReplaced`] if `read` lacks the key
    /// of the store; the keys are held in spite of that.
    pub async fn hold_master_keys(&self, read: &MasterKeyRing) -> Result<bool, StoreError> {
        let keys = &self.inner.keys;
        let look = async |conn: &mut AnyConnection| {
            let key = StoreKey::read(conn).await?;
            let error = match read.holds(key.id) {
                true => None,
                false => Some(secret::not_held(conn, read, key.id).await?),
            };
            Ok((key, error))
        };
        let (key, error) = self.read().run(look).await?;
        let needed: Vec<MasterKeyId> = [Some(key.id), key.former].into_iter().flatten().collect();
        let changed = keys.replace(read, &needed);
        keys.set_settled(key.settled());
        error.map_or(Ok(changed), Err)
    }
}
