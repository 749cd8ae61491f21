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

mod admission;
mod backoff;
mod boundaries;
mod cause;
mod client_hello;
mod connection;
mod copier;
mod drain;
mod error;
mod failures;
mod fair_shares;
mod filling;
mod first_packet;
mod flight;
mod follow;
mod gate;
mod gateway;
mod handshake;
mod history;
mod host_index;
mod identity;
mod incoming_proxy;
mod introduction;
mod last_alert;
mod leftover;
mod lines;
mod listener;
mod loader;
mod membership;
mod metrics;
mod no_gateway;
mod outgoing;
mod probes;
mod progress;
mod proof;
mod proxy_header;
mod rarely;
mod record_limit;
mod registry;
mod rehearsal;
mod relay;
mod reports;
mod schedule;
mod served;
mod serving;
mod settings;
mod sni;
mod socket;
mod tables;
mod ticket_keys;
mod tickets;
mod tls;
mod token_bucket;
mod trust_age;
mod turns;
mod upstream;
mod verified_chains;
mod way_in;
mod wire;
mod witness;

pub use error::GatewayError;
pub use gateway::{Bound, Gateway, Prepared};
pub use ipnet::IpNet;
pub use no_gateway::NoGateway;
pub use record_limit::offered_record_bytes;
pub use settings::{Deadlines, Listener, Protocol, Settings};
