//! Listeners, SNI, TLS handshakes, session tickets, the relay to the broker, and proofs.
//!
//! A connection: accept, limits, ClientHello, deployment, handshake, first packet, upstream, relay.
//! A change: feed, new configuration, pointer swap, proof. A swap closes no connection and fails no
//! handshake; an unservable deployment is refused alone, never served another certificate or weaker
//! verification; tickets stay in their trust scope; everything is bounded. Start at [`Gateway`].

mod accept;
mod api_only;
mod config;
mod context;
mod devices;
mod error;
mod gateway;
mod io;
mod observe;
mod proof;
mod routing;
mod serving;
mod session;
mod settings;
mod start;
mod sync;
mod upstream;

pub use api_only::NoGateway;
pub use error::GatewayError;
pub use gateway::{Gateway, NodeReplica, Unbound};
pub use ipnet::IpNet;
pub use proof::recording_client::{HandshakeRecord, RecordingClient};
pub use session::{client_offer::client_offer, record_limit::offered_record_bytes};
pub use settings::{Deadlines, DevicesKept, ExpiredSessions, Listener, Protocol, Settings};
pub use start::{Bound, Prepared};
pub use upstream::broker_probe::{BrokerProber, BrokerVerdict};
