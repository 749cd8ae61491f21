//! The audit's chain: each row's MAC covers its columns and the MAC of the row before.

pub(crate) mod append;
pub(crate) mod chain;
pub(crate) mod checkpoint;
pub(crate) mod entry;
pub(crate) mod fault;
pub(crate) mod head;
pub(crate) mod mark;
pub(crate) mod record;
pub(crate) mod verifier;
