//! What operators see: causes, failures, metrics and log throttling.

pub(crate) mod cause;
pub(crate) mod failures;
pub(crate) mod log_throttle;
pub(crate) mod lost_devices;
pub(crate) mod metrics;
pub(crate) mod reason;
pub(crate) mod refusals;
pub(crate) mod refused_client;
pub(crate) mod relayed_bytes;
pub(crate) mod table_metrics;
pub(crate) mod tally;
