//! Shared by the tests of several crates. A failure is a panic.

mod any_server;
mod chunked;
mod effort;
mod hand_clock;
mod pki;
mod port;
mod postgres_server;
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod receiver;

pub use any_server::AnyServer;
pub use chunked::unchunked;
pub use effort::{Effort, effort};
pub use hand_clock::HandClock;
pub use pki::{Authority, Leaf, authority_params, client_params, server_params};
pub use port::free_port;
pub use postgres_server::PostgresServer;
pub use receiver::{CANARY, Receiver};
