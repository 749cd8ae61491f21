//! TLS over sockets, in per-thread buffers.

pub(crate) mod fair_share;
pub(crate) mod last_alert;
pub(crate) mod socket;
pub(crate) mod tls;
pub(crate) mod wire;
pub(crate) mod write_backlog;
