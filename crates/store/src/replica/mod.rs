//! A node's local copy of the store.

pub(crate) mod copying;
pub(crate) mod db;
pub(crate) mod rows;
