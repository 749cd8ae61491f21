//! A node's local copy of what it serves.

pub(crate) mod db;
pub(crate) mod rows;
