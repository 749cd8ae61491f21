use std::path::PathBuf;

use crate::Servers;

/// Where the store is.
#[derive(Debug, Clone)]
pub enum Address {
    /// SQLite in this folder (made with mode 0700 if missing).
    Embedded(PathBuf),
    /// PostgreSQL: one server, or a primary and its standbys.
    Postgres(Servers),
}
