use std::path::PathBuf;

use certward_api::Reloader;
use certward_store::Role;

use super::key_watch::WatchedKeys;
use crate::{
    config::{ConfigError, ConfigSource, LoadedConfig, LogSection},
    log::LogHandle,
};

/// Where SIGHUP reads the configuration again.
pub(super) struct ConfigPlace {
    pub(super) path: Option<PathBuf>,
    pub(super) role: Option<Role>,
}

impl ConfigPlace {
    pub(super) fn load(&self) -> anyhow::Result<LoadedConfig> {
        Ok(self.gather()?.load()?)
    }

    /// For the error of a configuration that does not load.
    pub(super) fn log_section(&self) -> LogSection {
        self.gather().map(|source| source.log_section()).unwrap_or_default()
    }

    fn gather(&self) -> Result<ConfigSource, ConfigError> {
        let gathered = ConfigSource::gather(self.path.as_deref(), std::env::vars_os())?;
        Ok(ConfigSource { role: self.role, ..gathered })
    }
}

/// What SIGHUP reads again.
pub(super) struct Reload {
    pub(super) place: ConfigPlace,
    pub(super) level: LogHandle,
    pub(super) certificate: Option<Reloader>,
    pub(super) keys: WatchedKeys,
}

impl Reload {
    /// Level and certificate are independent; on an error the old one stays.
    pub(super) fn run(&self) {
        let level = self.place.load().and_then(|loaded| {
            // Their files are read all the time; only their places change here.
            self.keys.reload(&loaded.config);
            self.level.set(loaded.config.log.level)?;
            Ok(loaded.config.log.level)
        });
        match level {
            Ok(level) => tracing::info!(log.level = ?level, "SIGHUP: the log level is read again"),
            Err(e) => tracing::error!("SIGHUP: the log level stays as it is: {e:#}"),
        }
        match self.certificate.as_ref().map(Reloader::reload) {
            None => {}
            Some(Ok(())) => tracing::info!("SIGHUP: the API's certificate is read again"),
            Some(Err(e)) => {
                tracing::error!("SIGHUP: the API's certificate stays as it is: {:#}", anyhow::Error::from(e));
            }
        }
    }
}
