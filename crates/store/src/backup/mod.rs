//! A backup of the embedded store is one file: an SQLite database, a line of JSON (the manifest),
//! and a line with the SHA-256 of all bytes before it. SQLite ignores what follows its pages.
//!
//! Keys stay sealed, and the master key is never in it. The request log is not copied: it holds an
//! hour, and a store without it makes another.

pub(crate) mod error;
pub(crate) mod file;
pub(crate) mod manifest;
pub(crate) mod restoring;
pub(crate) mod taking;
