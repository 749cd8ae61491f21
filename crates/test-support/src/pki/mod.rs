//! Certificates that tests make for themselves.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod authority;
mod der;
mod leaf;
mod params;

pub use authority::Authority;
pub use leaf::Leaf;
pub use params::{authority_params, client_params, server_params};
