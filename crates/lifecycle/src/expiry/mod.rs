//! What ends, which rules apply to it and when, and what is then sent. Rules and messages are pure;
//! `watch.rs` lists and records, `delivering.rs` sends.

pub(crate) mod alert_message;
pub(crate) mod clock_watch;
pub(crate) mod delivering;
pub(crate) mod listing;
pub(crate) mod message;
pub(crate) mod rules;
pub(crate) mod span;
pub(crate) mod watch;
