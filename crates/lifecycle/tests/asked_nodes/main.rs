//! What nodes are asked through the store.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod acknowledgement;
mod cluster;
mod failures;
mod sessions;
