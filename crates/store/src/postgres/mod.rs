//! PostgreSQL servers: which one is the primary, and whether it is the known database.

pub(crate) mod known_database;
pub(crate) mod listen;
pub(crate) mod primary;
pub(crate) mod server_status;
pub(crate) mod servers;
