//! What a change would do to devices now connected or known: facts of this deployment's sessions,
//! known devices, ClientHellos and hosts, and the pure judgement of them.
//!
//! It compares the newest upload with the proposed one. An ordinary renewal, of the same names,
//! root and kind of key, has no impact.

mod evidence;
mod judgement;
mod known_devices;
mod offer_share;
mod public_material;
mod reading;
mod server_side;
mod stopped_impact;
pub(crate) mod stopped_message;
mod stopping;
mod verdict;

pub(crate) use reading::ImpactUnread;
pub use verdict::{Handling, Impact, ImpactSeverity, KeyKindChange, RefusedShare};
