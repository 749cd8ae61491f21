use std::path::PathBuf;

use certward_store::{MasterKey, MasterKeyError, Role};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    ApiSection, ConfigError, GatewaySection, LimitsSection, LogSection, StoreServers, error::Origin, key,
};

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The folder of the embedded store, the node's id and the master key: `certward-data`.
    pub(crate) data_dir: PathBuf,
    /// PostgreSQL instead of the embedded store: the `postgres://` URL of a server, or those of a primary and its standbys.
    pub(crate) store: Option<StoreServers>,
    /// What this node does: `all`; with PostgreSQL also `api` or `gateway` alone.
    #[serde(deserialize_with = "super::role::role")]
    pub(crate) role: Role,
    /// The file of the master key; `master.key` in the data folder when absent.
    pub(crate) master_key_file: Option<PathBuf>,
    /// The master key itself, 64 hexadecimal digits: only from the environment (`CERTWARD_MASTER_KEY`), for a file that
    /// holds it would be read by whoever reads the configuration.
    #[serde(skip)]
    pub(crate) master_key: Option<MasterKeyText>,
    /// `[api]`
    pub(crate) api: ApiSection,
    /// `[gateway]`
    pub(crate) gateway: GatewaySection,
    /// `[limits]`
    pub(crate) limits: LimitsSection,
    /// `[log]`
    pub(crate) log: LogSection,
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
            log: LogSection::default(),
        }
    }
}

impl Config {
    /// The file of the master key, wherever it was configured.
    pub(crate) fn master_key_path(&self) -> PathBuf {
        self.master_key_file.clone().unwrap_or_else(|| self.data_dir.join("master.key"))
    }

    /// The master key, from the environment or its file.
    ///
    /// # Errors
    /// [`ConfigError`] for a variable that holds none, else [`certward_store::MasterKeyError`].
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

    /// Where the store is.
    pub(crate) fn store_address(&self) -> certward_store::Address {
        match &self.store {
            Some(store) => certward_store::Address::Postgres(store.servers().clone()),
            None => certward_store::Address::Embedded(self.data_dir.clone()),
        }
    }

    /// Where the store is, for a node that uses no other PostgreSQL database than it did before.
    pub(crate) fn store_address_of_node(&self) -> certward_store::Address {
        match self.store_address() {
            certward_store::Address::Postgres(servers) => {
                certward_store::Address::Postgres(servers.remembering(self.data_dir.join("database.seen")))
            }
            embedded => embedded,
        }
    }
}

/// The master key as it came from the environment. Wiped on drop, shown by no `Debug`.
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
