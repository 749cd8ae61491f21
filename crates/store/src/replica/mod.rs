//! A node's local copy of the store.

pub(crate) mod db;
pub(crate) mod rows;
