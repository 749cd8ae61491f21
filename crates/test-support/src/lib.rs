//! What tests of several crates share. For tests only: it panics where something is missing.

mod chunked;
mod hand_clock;
mod port;
mod postgres_server;

pub use chunked::unchunked;
pub use hand_clock::HandClock;
pub use port::free_port;
pub use postgres_server::PostgresServer;
