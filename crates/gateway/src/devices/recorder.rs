//! Writes what the node saw of devices to the store, beside the handshakes.

use std::{sync::Arc, time::Duration};

use certward_store::{Clock, DeviceBatch, Store, StoreError};
use tokio::{task::spawn_blocking, time::timeout};

use crate::{
    devices::{register::DeviceRegister, sightings::Sightings},
    session::registry::Registry,
};

/// At the end of the process.
const LAST_RECORD_TIMEOUT: Duration = Duration::from_secs(2);

/// Call it every few seconds. Writes nothing if nothing is new.
pub(crate) async fn record(
    devices: &DeviceRegister,
    store: &Store,
    clock: &dyn Clock,
) -> Result<(), StoreError> {
    devices.end_hour_if_over(clock.now());
    write_all(devices, store).await
}

/// Call it when no session is left.
pub(crate) async fn record_the_last(devices: &DeviceRegister, store: &Store) {
    devices.end_this_hour();
    match timeout(LAST_RECORD_TIMEOUT, write_all(devices, store)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!("what this node saw of devices in the last seconds is not recorded: {error}");
        }
        Err(_) => tracing::warn!(
            "what this node saw of devices in the last seconds is not recorded: the store does not answer"
        ),
    }
}

/// Notes long sessions again; they are due once an hour. Call it every minute or so.
pub(crate) async fn note_live_sessions(
    devices: &Arc<DeviceRegister>,
    registry: &Arc<Registry>,
    clock: &Arc<dyn Clock>,
) {
    let (devices, registry, clock) = (Arc::clone(devices), Arc::clone(registry), Arc::clone(clock));
    // There may be a million.
    let noted = spawn_blocking(move || {
        let now = clock.now();
        devices.sightings.sweep(now);
        for deployment in registry.connected_deployments() {
            registry.visit(&deployment, |live| {
                // The others are noted by the next call.
                if let Some(facts) = live.facts().filter(|facts| devices.sightings.has_room(facts)) {
                    devices.note_again(facts, now);
                }
            });
        }
    });
    noted.await.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()));
}

async fn write_all(devices: &DeviceRegister, store: &Store) -> Result<(), StoreError> {
    let sightings = &devices.sightings;
    loop {
        devices.gather_offers();
        let mut taken = Taken { sightings, batch: sightings.take_batch() };
        if taken.batch == DeviceBatch::default() {
            return Ok(());
        }
        store.record_devices(&taken.batch).await?;
        taken.batch = DeviceBatch::default();
    }
}

/// Not lost if the write fails, or is dropped at the shutdown.
struct Taken<'a> {
    sightings: &'a Sightings,
    batch: DeviceBatch,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.sightings.put_back(std::mem::take(&mut self.batch));
    }
}
