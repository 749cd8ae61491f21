use std::{sync::Arc, time::Duration};

use anyhow::anyhow;
use certward_store::{Address, Store, StoreError, SystemClock};
use tokio::time::timeout;

use super::snapshot;
use crate::{config::Config, store_remedy};

/// Wait for the database when a snapshot exists. With the first feed read (1 s) a device waits
/// three seconds: docs/database-away.md.
const STORE_REACH_TIMEOUT: Duration = Duration::from_secs(2);

/// `beside`: another process has the embedded store open. With a snapshot, an unreachable database
/// is [`Store::away`].
pub(super) async fn open(config: &Config, beside: bool) -> anyhow::Result<Store> {
    let address = config.store_address_of_node();
    let opened = if snapshot::is_there(config) {
        let store = Store::away(address, config.read_master_keys()?.ring(), Arc::new(SystemClock));
        reach_soon(&store).await.map(|()| store)
    } else {
        open_now(config, &address, beside).await?
    };
    match opened {
        Err(StoreError::NotInitialised) => {
            let place = match &config.store {
                None => format!("in {}", config.data_dir.display()),
                Some(_) => "in PostgreSQL".to_owned(),
            };
            Err(anyhow!(
                "the store {place} is not initialised; run `certward init` with the same configuration"
            ))
        }
        opened => opened.map_err(store_remedy::explain),
    }
}

/// A longer attempt goes on in the background.
async fn reach_soon(store: &Store) -> Result<(), StoreError> {
    let reaching = {
        let store = store.clone();
        tokio::spawn(async move { store.reach().await })
    };
    match timeout(STORE_REACH_TIMEOUT, reaching).await {
        Ok(Ok(Err(StoreError::Unavailable(reason)))) => {
            tracing::warn!("the database cannot be reached: {reason}");
            Ok(())
        }
        Ok(Ok(reached)) => reached,
        // Its panic is logged; the next user of the database retries.
        Ok(Err(_)) => Ok(()),
        Err(_) => {
            tracing::warn!("the database does not answer within {STORE_REACH_TIMEOUT:?}");
            Ok(())
        }
    }
}

/// Without a time limit.
async fn open_now(
    config: &Config,
    address: &Address,
    beside: bool,
) -> anyhow::Result<Result<Store, StoreError>> {
    // First: an uninitialised store has no master key.
    match if beside { Ok(true) } else { Store::is_initialised(address).await } {
        Ok(true) => {}
        Ok(false) => return Ok(Err(StoreError::NotInitialised)),
        Err(error) => return Ok(Err(error)),
    }
    let (keys, clock) = (config.read_master_keys()?.ring(), Arc::new(SystemClock));
    Ok(match beside {
        true => Store::open_beside(address, &keys, clock).await,
        false => Store::open(address, &keys, clock).await,
    })
}
