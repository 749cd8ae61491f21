//! Audit keys of earlier master keys.
//!
//! A row names the master key that its MAC was made under. A change of the master key keeps the
//! audit key of the one before as a sealed record, so that older rows can still be verified.

use sqlx::AnyConnection;
use zeroize::Zeroizing;

use crate::{
    MasterKey, MasterKeyId, MasterKeyRing, StoreError, Timestamp,
    sealed::{
        audit_key::{AuditKey, KEY_BYTES},
        master_key_id::KEY_ID,
        sealing::Sealer,
        secret,
    },
};

/// The key under the master key of this id: one that is held, or a kept one. `None`: neither.
pub(crate) async fn of_id(
    conn: &mut AnyConnection,
    keys: &MasterKeyRing,
    id: &[u8],
) -> Result<Option<AuditKey>, StoreError> {
    let Ok(id) = <[u8; KEY_ID]>::try_from(id).map(MasterKeyId::from_bytes) else { return Ok(None) };
    if let Ok(sealer) = keys.sealer(id) {
        return Ok(Some(AuditKey::from_bytes(sealer.audit_key().bytes().clone())));
    }
    let name = record(id);
    let Some(kept) = secret::find(conn, keys, &name).await? else { return Ok(None) };
    let bytes = <[u8; KEY_BYTES]>::try_from(kept.as_slice()).map_err(|_| StoreError::Sealed(name))?;
    Ok(Some(AuditKey::from_bytes(Zeroizing::new(bytes))))
}

/// Keeps the key of `before`, sealed under `after`, for a change of the master key.
#[cfg_attr(not(test), allow(dead_code, reason = "for the change of the master key"))]
pub(crate) async fn keep(
    conn: &mut AnyConnection,
    before: &MasterKey,
    after: &Sealer,
    now: Timestamp,
) -> Result<(), StoreError> {
    let name = record(MasterKeyId::of(before));
    secret::insert(conn, after, &name, AuditKey::of(before).bytes().as_slice(), now).await
}

/// The name of the sealed record: `audit.` and the id in hexadecimal.
fn record(id: MasterKeyId) -> String {
    format!("audit.{id}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Address, Store, SystemClock};

    #[tokio::test]
    async fn the_key_of_an_earlier_master_key_is_found_once_it_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let address = Address::Embedded(folder.path().join("data"));
        let (first, second) = (MasterKey::generate(), MasterKey::generate());
        let store = Store::init(&address, &first, Arc::new(SystemClock)).await.expect("made");
        let (before, after) = (Sealer::new(&first), Sealer::new(&second));
        let keys = MasterKeyRing::from(&second);
        let of = async |conn: &mut AnyConnection, id: MasterKeyId| {
            of_id(conn, &keys, id.as_bytes()).await.expect("read")
        };
        let mut tx = store.inner.engine().expect("open").begin().await.expect("a transaction");
        let mac = before.audit_key().mac(b"a row");

        assert!(of(&mut tx, before.id()).await.is_none());
        keep(&mut tx, &first, &after, Timestamp(0)).await.expect("kept");
        let found = of(&mut tx, before.id()).await.expect("kept");
        assert!(found.verifies(b"a row", &mac));
        assert!(!found.verifies(b"a rox", &mac));
        let own = of(&mut tx, after.id()).await.expect("its own");
        assert!(!own.verifies(b"a row", &mac), "another master key, another key");
    }
}
