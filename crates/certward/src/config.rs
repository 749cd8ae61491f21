//! The configuration: a struct per section, each field with default, unit and bound.
//!
//! Weakest first: default, file, environment (`CERTWARD_SECTION__KEY`), given as a
//! [`ConfigSource`]. Unknown keys and wrong values are errors with file and line; paths are
//! relative to the working directory.

mod address;
mod alerts;
mod api;
mod crl;
mod duration;
mod error;
mod example;
mod file;
mod gateway;
mod key;
mod limits;
mod load;
mod log;
mod master_key_text;
mod master_keys;
mod metrics;
mod network;
mod role;
mod source;
mod store_servers;
mod upstream_source;

pub(crate) use alerts::AlertsSection;
pub(crate) use api::ApiSection;
pub(crate) use crl::CrlSection;
pub(crate) use error::ConfigError;
pub(crate) use file::Config;
pub(crate) use gateway::GatewaySection;
pub(crate) use limits::LimitsSection;
pub(crate) use load::LoadedConfig;
pub(crate) use log::{LogFormat, LogLevel, LogSection};
pub(crate) use master_key_text::MasterKeyText;
pub(crate) use master_keys::{
    FILE as MASTER_KEY_FILE, MasterKeySource, MasterKeySources, NEXT_FILE as NEXT_MASTER_KEY_FILE,
    ReadMasterKeys,
};
pub(crate) use metrics::MetricsSection;
pub(crate) use network::Network;
pub(crate) use role::parse as parse_role;
pub(crate) use source::ConfigSource;
pub(crate) use store_servers::StoreServers;

#[cfg(test)]
mod tests;
