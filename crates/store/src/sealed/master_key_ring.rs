//! The master keys of a process: one, and a second one while the key is changed.
//!
//! A record is opened with the key that it names. New ones are sealed under the key of the store,
//! which its check value names (`secret::sealer`), so that no node writes what others cannot open.

use std::{fmt, sync::Arc};

use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::{
    MasterKey, MasterKeyId, StoreError,
    sealed::sealing::{RecordPlace, Sealer, master_key_id},
};

/// The master keys that a process holds. Clones share them.
#[derive(Clone)]
pub struct MasterKeyRing(Arc<watch::Sender<HeldKeys>>);

#[derive(Clone)]
struct HeldKeys {
    /// Never empty; the first is the configured one.
    sealers: Vec<Arc<Sealer>>,
    /// The key of the store, once its last rekey has resealed all records.
    settled: Option<MasterKeyId>,
    /// The key that this node's replica is sealed under.
    replica: Option<MasterKeyId>,
}

impl MasterKeyRing {
    /// `next`: the key that replaces `current` in a rekey, if it is known.
    pub fn new(current: &MasterKey, next: Option<&MasterKey>) -> Self {
        let mut sealers = vec![Arc::new(Sealer::new(current))];
        let next = next.map(|next| Arc::new(Sealer::new(next)));
        sealers.extend(next.filter(|next| next.id() != sealers[0].id()));
        Self(Arc::new(watch::Sender::new(HeldKeys { sealers, settled: None, replica: None })))
    }

    /// The ids of the held keys, the configured one first.
    pub fn ids(&self) -> Vec<MasterKeyId> {
        self.0.borrow().sealers.iter().map(|sealer| sealer.id()).collect()
    }

    /// Whether this key is held.
    pub fn holds(&self, id: MasterKeyId) -> bool {
        self.ids().contains(&id)
    }

    /// The key that this node's replica is sealed under; `None` without a replica.
    pub fn replica_key(&self) -> Option<MasterKeyId> {
        self.0.borrow().replica
    }

    /// For a new store.
    pub(crate) fn configured(&self) -> Arc<Sealer> {
        Arc::clone(&self.0.borrow().sealers[0])
    }

    /// [`StoreError::WrongMasterKey`] if it is not held.
    pub(crate) fn sealer(&self, id: MasterKeyId) -> Result<Arc<Sealer>, StoreError> {
        let held = self.0.borrow();
        held.sealers.iter().find(|sealer| sealer.id() == id).cloned().ok_or(StoreError::WrongMasterKey)
    }

    /// As [`Sealer::open`], with the key that the record names.
    pub(crate) fn open(
        &self,
        place: RecordPlace<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let id = master_key_id(sealed).ok_or_else(|| StoreError::Sealed(place.to_string()))?;
        self.sealer(id)?.open(place, sealed)
    }

    /// Holds the keys of `read`, and those of before that are still `needed` or the replica's.
    /// Returns whether this changes anything.
    pub(crate) fn replace(&self, read: &Self, needed: &[MasterKeyId]) -> bool {
        let mut sealers = read.0.borrow().sealers.clone();
        self.0.send_if_modified(|held| {
            let is_needed = |id: &MasterKeyId| needed.contains(id) || held.replica == Some(*id);
            for sealer in &held.sealers {
                let id = sealer.id();
                if is_needed(&id) && sealers.iter().all(|kept| kept.id() != id) {
                    sealers.push(Arc::clone(sealer));
                }
            }
            let same = sealers.iter().map(|sealer| sealer.id()).eq(held.sealers.iter().map(|it| it.id()));
            held.sealers = sealers;
            !same
        })
    }

    pub(crate) fn set_settled(&self, id: Option<MasterKeyId>) {
        self.0.send_if_modified(|held| std::mem::replace(&mut held.settled, id) != id);
    }

    pub(crate) fn set_replica(&self, id: Option<MasterKeyId>) {
        self.0.send_if_modified(|held| std::mem::replace(&mut held.replica, id) != id);
    }

    pub(crate) fn is_replica_outdated(&self) -> bool {
        self.0.borrow().is_replica_outdated()
    }

    /// Resolves once the replica is sealed under another key than all of the store.
    pub(crate) async fn replica_outdated(&self) {
        // The sender is this value's own.
        let _ = self.0.subscribe().wait_for(HeldKeys::is_replica_outdated).await;
    }
}

impl HeldKeys {
    fn is_replica_outdated(&self) -> bool {
        self.settled.zip(self.replica).is_some_and(|(store, replica)| store != replica)
    }
}

impl From<&MasterKey> for MasterKeyRing {
    fn from(master_key: &MasterKey) -> Self {
        Self::new(master_key, None)
    }
}

impl From<&MasterKeyRing> for MasterKeyRing {
    fn from(ring: &MasterKeyRing) -> Self {
        ring.clone()
    }
}

impl fmt::Debug for MasterKeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MasterKeyRing").field(&self.ids()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: RecordPlace<'_> = RecordPlace { table: "secret", row: "r", version: 0 };

    fn keys() -> ([MasterKey; 3], [MasterKeyId; 3]) {
        let keys = std::array::from_fn(|_| MasterKey::generate());
        let ids = keys.each_ref().map(MasterKeyId::of);
        (keys, ids)
    }

    #[test]
    fn a_record_is_opened_with_the_key_that_it_names() {
        let ([first, second, third], [first_id, second_id, _]) = keys();
        let ring = MasterKeyRing::new(&first, Some(&second));
        for id in [first_id, second_id] {
            let sealed = ring.sealer(id).expect("held").seal(PLACE, b"plain").expect("sealed");
            assert_eq!(master_key_id(&sealed), Some(id));
            assert_eq!(ring.open(PLACE, &sealed).expect("opened").as_slice(), b"plain");
        }
        let foreign = Sealer::new(&third).seal(PLACE, b"plain").expect("sealed");
        assert!(matches!(ring.open(PLACE, &foreign), Err(StoreError::WrongMasterKey)));
        assert!(matches!(ring.open(PLACE, &foreign[..5]), Err(StoreError::Sealed(_))));
    }

    #[test]
    fn a_key_that_the_store_or_the_replica_needs_is_never_dropped() {
        let ([first, second, third], [first_id, second_id, third_id]) = keys();
        let ring = MasterKeyRing::new(&first, None);
        assert!(ring.replace(&MasterKeyRing::new(&second, Some(&third)), &[first_id]));
        assert_eq!(ring.ids(), [second_id, third_id, first_id]);
        ring.set_replica(Some(third_id));
        assert!(ring.replace(&MasterKeyRing::new(&second, None), &[]));
        assert_eq!(ring.ids(), [second_id, third_id]);
        assert!(!ring.replace(&MasterKeyRing::new(&second, None), &[]), "nothing changes");
        ring.set_replica(None);
        assert!(ring.replace(&MasterKeyRing::new(&second, None), &[]));
        assert_eq!(ring.ids(), [second_id]);
        assert_eq!(MasterKeyRing::new(&first, Some(&first)).ids(), [first_id], "one key twice is one");
    }

    #[test]
    fn a_replica_is_outdated_once_all_of_the_store_has_another_key() {
        let ([first, ..], [_, old, new]) = keys();
        let ring = MasterKeyRing::new(&first, None);
        for (store, replica, outdated) in [
            (None, None, false),
            (Some(new), None, false),
            (None, Some(old), false),
            (Some(new), Some(new), false),
            (Some(new), Some(old), true),
        ] {
            ring.set_settled(store);
            ring.set_replica(replica);
            assert_eq!(ring.is_replica_outdated(), outdated, "{store:?} {replica:?}");
        }
    }
}
