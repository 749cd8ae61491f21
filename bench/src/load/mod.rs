//! What drives a server: workloads, clients, their broker, and the certificates of both sides.

pub(crate) mod broker;
pub(crate) mod client;
pub(crate) mod credentials;
pub(crate) mod generator;
pub(crate) mod swap;
pub(crate) mod workload;
