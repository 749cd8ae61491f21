//! Where devices arrive: listeners, SNI, handshakes, session tickets, the relay to the broker, and the proof of what is served.
//!
//! A device's way: accept, limits, ClientHello, the deployment by listener or name, handshake with that deployment's own
//! configuration, first packet, upstream, relay. A change's way: the store's feed wakes the node, the new configuration is
//! built apart, one pointer is swapped, and the node proves by handshakes through its own listeners that it serves it.
//!
//! Promises: a swap drops no connection and fails no handshake; a deployment that cannot be served is refused alone, and
//! never falls to another certificate or to less verification; a session ticket resumes only within its trust scope; nothing
//! here is unbounded. It decides nothing about the life of a certificate: that is `lifecycle`'s.
//!
//! Start reading at [`Gateway`].

mod accept;
mod api_only;
mod config;
mod context;
mod error;
mod gateway;
mod io;
mod observe;
mod proof;
mod routing;
mod session;
mod settings;
mod sync;
mod upstream;

pub use api_only::NoGateway;
pub use error::GatewayError;
pub use gateway::{Bound, Gateway, Prepared};
pub use ipnet::IpNet;
pub use session::record_limit::offered_record_bytes;
pub use settings::{Deadlines, Listener, Protocol, Settings};
