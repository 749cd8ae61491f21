//! What an operator may configure: one struct a section, each field with its default, unit and bound.
//!
//! The look-up, from weak to strong: the default, the file, the environment (`CERTWARD_SECTION__KEY`). The text of
//! the file and the variables are handed in as a [`Source`], so that a test needs neither. Unknown keys and wrong
//! values refuse, naming file and line; relative paths are relative to the working directory.

mod address;
mod api;
mod duration;
mod error;
mod file;
mod gateway;
mod key;
mod limits;
mod load;
mod log;
mod network;
mod role;
mod source;
mod store_servers;
mod upstream_source;

pub(crate) use api::ApiSection;
pub(crate) use error::ConfigError;
pub(crate) use file::{Config, MasterKeyText};
pub(crate) use gateway::GatewaySection;
pub(crate) use limits::LimitsSection;
pub(crate) use load::Loaded;
pub(crate) use log::{Format, Level, LogSection};
pub(crate) use network::Network;
pub(crate) use role::parse as parse_role;
pub(crate) use source::Source;
pub(crate) use store_servers::StoreServers;

#[cfg(test)]
mod tests;
