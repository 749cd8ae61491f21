//! Shared by the tests of several crates. A failure is a panic.

mod chunked;
mod effort;
mod hand_clock;
mod port;
mod postgres_server;

pub use chunked::unchunked;
pub use effort::{Effort, effort};
pub use hand_clock::HandClock;
pub use port::free_port;
pub use postgres_server::PostgresServer;
