//! The client CAs of a deployment: who uses each, adding one, and removing one.
//!
//! Certificates of one name and key are of one CA: it was renewed, and a device that one of them
//! admits is admitted by each. Who a CA admits is found by the devices' paths of issuers.

mod change;
mod changing;
mod listing;
mod need;
mod sessions;
mod stragglers;
mod unused;
mod unused_detail;
pub(crate) mod unused_message;
mod usage;

pub(crate) use change::ClientCasChange;
pub use listing::{ClientCaView, ClientCasOfDeployment};
pub use stragglers::{Straggler, Stragglers};
