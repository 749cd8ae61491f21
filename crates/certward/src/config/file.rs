use std::path::PathBuf;

use certward_store::Role;
use serde::Deserialize;

use super::{
    AlertsSection, ApiSection, CrlSection, GatewaySection, LimitsSection, LogSection, MasterKeyText,
    MetricsSection, StoreServers,
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
    /// The file of the key that a rekey changes to; `master.key.next` in the data folder if absent.
    pub(crate) master_key_next_file: Option<PathBuf>,
    /// The same, only from `CERTWARD_MASTER_KEY_NEXT`.
    #[serde(skip)]
    pub(crate) next_master_key: Option<MasterKeyText>,
    /// systemd's folder of credentials.
    #[serde(skip)]
    pub(crate) credentials: Option<PathBuf>,
    pub(crate) api: ApiSection,
    pub(crate) gateway: GatewaySection,
    pub(crate) limits: LimitsSection,
    pub(crate) alerts: AlertsSection,
    pub(crate) crl: CrlSection,
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
            master_key_next_file: None,
            next_master_key: None,
            credentials: None,
            api: ApiSection::default(),
            gateway: GatewaySection::default(),
            limits: LimitsSection::default(),
            alerts: AlertsSection::default(),
            crl: CrlSection::default(),
            log: LogSection::default(),
            metrics: MetricsSection::default(),
        }
    }
}

impl Config {
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
