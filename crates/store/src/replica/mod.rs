//! A node's local copy of the store.

pub(crate) mod copying;
pub(crate) mod db;
pub(crate) mod origin;
pub(crate) mod resealing;
pub(crate) mod revocation_copy;
pub(crate) mod rows;
