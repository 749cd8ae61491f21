//! Proofs through this node's own listeners.

pub(crate) mod entry_point;
pub(crate) mod prober;
pub(crate) mod probes;
pub(crate) mod recording_client;
pub(crate) mod rehearsal;
