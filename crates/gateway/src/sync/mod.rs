//! Carrying out changes: the feed, the schedule, reports and the replica.

pub(crate) mod answers;
pub(crate) mod backoff;
pub(crate) mod broker_reports;
pub(crate) mod feed_reader;
pub(crate) mod follower;
pub(crate) mod history;
pub(crate) mod host_warmup;
pub(crate) mod lease;
pub(crate) mod membership;
pub(crate) mod progress;
pub(crate) mod reconciler;
pub(crate) mod replicator;
pub(crate) mod report_gate;
pub(crate) mod reporter;
pub(crate) mod schedule;
