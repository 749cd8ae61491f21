//! What tests of several crates share. For tests only: it panics where something is missing.

mod postgres_server;

pub use postgres_server::PostgresServer;
