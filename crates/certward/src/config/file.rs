use std::path::PathBuf;

use certward_store::{MasterKey, MasterKeyError, Role};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    AlertsSection, ApiSection, ConfigError, GatewaySection, LimitsSection, LogSection, MetricsSection,
    StoreServers, error::Origin, key,
};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Folder of the embedded store, node id and master key: `certward-data`.
    pub(crate) data_dir: PathBuf,
    /// The `postgres://` URL of a server, or of a primary and its standbys.
    pub(crate) store: Option<StoreServers>,
    /// `all`; with PostgreSQL also `api` or `gateway`.
    #[serde(deserialize_with = "super::role::role")]
    pub(crate) role: Role,
    /// `master.key` in the data folder if absent.
    pub(crate) master_key_file: Option<PathBuf>,
    /// 64 hexadecimal digits, only from `CERTWARD_MASTER_KEY`: the file has more readers.
    #[serde(skip)]
    pub(crate) master_key: Option<MasterKeyText>,
    pub(crate) api: ApiSection,
    pub(crate) gateway: GatewaySection,
    pub(crate) limits: LimitsSection,
    pub(crate) alerts: AlertsSection,
    pub(crate) log: LogSection,
    pub(crate) metrics: MetricsSection,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("certward-data"),
            store: None,
            role: Role::All,
            master_key_file: None,
            master_key: None,
            api: ApiSection::default(),
            gateway: GatewaySection::default(),
            limits: LimitsSection::default(),
            alerts: AlertsSection::default(),
            log: LogSection::default(),
            metrics: MetricsSection::default(),
        }
    }
}

impl Config {
    pub(crate) fn master_key_path(&self) -> PathBuf {
        self.master_key_file.clone().unwrap_or_else(|| self.data_dir.join("master.key"))
    }

    /// Where the master key is, for people.
    pub(crate) fn master_key_place(&self) -> String {
        match &self.master_key {
            Some(_) => format!("the variable {}", key::MASTER_KEY),
            None => self.master_key_path().display().to_string(),
        }
    }

    /// # Errors
    /// [`ConfigError`] for a bad variable, else [`certward_store::MasterKeyError`].
    pub(crate) fn read_master_key(&self) -> anyhow::Result<MasterKey> {
        match &self.master_key {
            Some(text) => MasterKey::parse(text.expose()).map_err(|e| {
                ConfigError::new(Origin::Variable(key::MASTER_KEY.into()), e.to_string()).into()
            }),
            None => self.read_master_key_file().map_err(|e| match e {
                MasterKeyError::File { .. } => {
                    anyhow::anyhow!(
                        "{e}; bring it back, or give it by master_key_file or CERTWARD_MASTER_KEY"
                    )
                }
                e => e.into(),
            }),
        }
    }

    fn read_master_key_file(&self) -> Result<MasterKey, MasterKeyError> {
        match &self.master_key_file {
            Some(path) => MasterKey::read(path),
            None => MasterKey::read_own(&self.master_key_path()),
        }
    }

    pub(crate) fn store_address(&self) -> certward_store::Address {
        match &self.store {
            Some(store) => certward_store::Address::Postgres(store.servers().clone()),
            None => certward_store::Address::Embedded(self.data_dir.clone()),
        }
    }

    /// Refuses another PostgreSQL database than this node used before.
    pub(crate) fn store_address_of_node(&self) -> certward_store::Address {
        match self.store_address() {
            certward_store::Address::Postgres(servers) => {
                certward_store::Address::Postgres(servers.remembering(self.data_dir.join("database.seen")))
            }
            embedded => embedded,
        }
    }
}

/// Wiped on drop, redacted in `Debug`.
#[derive(Clone, PartialEq)]
pub(crate) struct MasterKeyText(Zeroizing<String>);

impl MasterKeyText {
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for MasterKeyText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKeyText(redacted)")
    }
}
