//! One connection, from its ClientHello to its close.

pub(crate) mod broker_answer;
pub(crate) mod client_ends;
pub(crate) mod client_facts;
pub(crate) mod client_offer;
pub(crate) mod connection;
pub(crate) mod drain;
pub(crate) mod first_packet;
pub(crate) mod flight;
pub(crate) mod handshake;
pub(crate) mod handshake_queue;
pub(crate) mod paced_closes;
pub(crate) mod proxy_header;
pub(crate) mod record_limit;
pub(crate) mod registry;
pub(crate) mod relay;
pub(crate) mod session_ages;
pub(crate) mod session_facts;
pub(crate) mod stale_crls;
pub(crate) mod token_bucket;
pub(crate) mod web_socket;
