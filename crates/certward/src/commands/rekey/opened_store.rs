use std::sync::Arc;

use certward_store::{Store, StoreError, SystemClock};

use crate::{
    config::{Config, ReadMasterKeys},
    store_remedy,
};

/// The store, and whether a process serves from it.
pub(super) struct OpenedStore {
    pub(super) store: Store,
    /// This command holds the folder of the embedded store.
    pub(super) is_alone: bool,
}

impl OpenedStore {
    pub(super) async fn open(config: &Config, keys: &ReadMasterKeys) -> anyhow::Result<Self> {
        // A machine without a node gets no data folder.
        let address = match config.data_dir.exists() {
            true => config.store_address_of_node(),
            false => config.store_address(),
        };
        let (ring, clock) = (keys.ring(), Arc::new(SystemClock));
        let opened = match Store::open(&address, &ring, clock.clone()).await {
            Ok(store) => Ok(Self { store, is_alone: config.store.is_none() }),
            Err(StoreError::InUse(_)) => {
                Store::open_beside(&address, &ring, clock).await.map(|store| Self { store, is_alone: false })
            }
            Err(error) => Err(error),
        };
        opened.map_err(store_remedy::explain)
    }
}
