//! The TLS configuration of each deployment: read, built and cached.

pub(crate) mod client_check;
pub(crate) mod deployment_config;
pub(crate) mod deployment_revocations;
pub(crate) mod loader;
pub(crate) mod read_gate;
pub(crate) mod ticket_keys;
pub(crate) mod tickets;
pub(crate) mod tls_config;
pub(crate) mod trust_age;
pub(crate) mod verified_chains;
