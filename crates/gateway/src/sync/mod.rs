//! Carrying out changes: the feed, the schedule, reports and the replica.

pub(crate) mod backoff;
pub(crate) mod follow;
pub(crate) mod history;
pub(crate) mod lease;
pub(crate) mod membership;
pub(crate) mod progress;
pub(crate) mod replicator;
pub(crate) mod report_gate;
pub(crate) mod schedule;
