//! The master keys of this process while they are changed: read again, held, reported.

use std::{path::PathBuf, sync::Arc, time::Duration};

use certward_lifecycle::{Pace, periodically};
use certward_store::{MasterKeyId, Store};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::heartbeat::Heartbeat;
use crate::{
    config::{Config, MasterKeySource, MasterKeySources},
    master_key_files,
};

/// `certward rekey` waits for this.
const KEYS_INTERVAL: Duration = Duration::from_secs(1);

/// Where the keys are read from; a reload changes it.
#[derive(Debug, Clone)]
pub(super) struct WatchedKeys(Arc<Mutex<MasterKeySources>>);

impl WatchedKeys {
    pub(super) fn of(config: &Config) -> Self {
        Self(Arc::new(Mutex::new(config.master_key_sources())))
    }

    pub(super) fn reload(&self, config: &Config) {
        *self.0.lock() = config.master_key_sources();
    }

    fn sources(&self) -> MasterKeySources {
        self.0.lock().clone()
    }
}

pub(super) struct KeyWatch {
    watched: WatchedKeys,
    data_dir: PathBuf,
    store: Store,
    heartbeat: Arc<Heartbeat>,
    reported: Mutex<Option<KeyReport>>,
}

#[derive(Debug, Clone, PartialEq)]
struct KeyReport {
    held: Vec<MasterKeyId>,
    replica: Option<MasterKeyId>,
}

impl KeyWatch {
    pub(super) fn new(
        watched: WatchedKeys,
        config: &Config,
        store: Store,
        heartbeat: Arc<Heartbeat>,
    ) -> Self {
        let data_dir = config.data_dir.clone();
        Self { watched, data_dir, store, heartbeat, reported: Mutex::default() }
    }

    pub(super) async fn run(self, begin: CancellationToken, end: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            biased;
            () = end.cancelled() => return Ok(()),
            () = begin.cancelled() => {}
        }
        let what = "the master keys cannot be read again, those of before are held";
        periodically(what, Pace::AtOnce(KEYS_INTERVAL), &self.store, end, || self.look()).await;
        Ok(())
    }

    async fn look(&self) -> anyhow::Result<()> {
        let sources = self.watched.sources();
        let (read, keys) = (sources.read()?.ring(), self.store.master_keys());
        // The store is asked only when something changes, or may be changing.
        if read.ids() != keys.ids() || keys.ids().len() > 1 {
            if self.store.hold_master_keys(&read).await? {
                tracing::info!(master_keys = ?keys.ids(), "the held master keys have changed");
            }
            self.put_in_place(&sources).await?;
        }
        let report = KeyReport { held: keys.ids(), replica: keys.replica_key() };
        if self.reported.lock().as_ref() != Some(&report) {
            self.heartbeat.record().await?;
            *self.reported.lock() = Some(report);
        }
        Ok(())
    }

    /// After a finished rekey, where both keys are in the data folder.
    async fn put_in_place(&self, sources: &MasterKeySources) -> anyhow::Result<()> {
        let (MasterKeySource::DataFolder(_), MasterKeySource::DataFolder(next)) =
            (&sources.current, &sources.next)
        else {
            return Ok(());
        };
        if !next.exists() {
            return Ok(());
        }
        let newest = self.store.rekey_state().await?.newest;
        let Some(rekey) = newest.filter(|rekey| rekey.finished_at.is_some()) else { return Ok(()) };
        if let Some(old) = master_key_files::put_in_place(&self.data_dir, &rekey)? {
            tracing::info!(
                master_key = %rekey.to,
                old = %old.display(),
                "rekey: the new master key is in the place of the one before, which older backups need"
            );
        }
        Ok(())
    }
}
