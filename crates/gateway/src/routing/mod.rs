//! From a server name to a deployment.

pub(crate) mod boundaries;
pub(crate) mod client_hello;
pub(crate) mod host_index;
pub(crate) mod index_warmup;
pub(crate) mod sni;
