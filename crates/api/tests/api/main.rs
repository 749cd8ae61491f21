//! The contract over HTTP, a file per aspect; one program, as each would link the whole store.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod audit;
mod boundaries;
mod certificate;
mod client_cas;
mod conformance;
mod connection;
mod crls;
mod crowd;
mod devices;
mod documents;
mod examples;
mod expiry;
mod http_rules;
mod impact;
mod limits;
mod openapi;
mod operation;
mod order;
mod page;
mod resources;
mod revocations;
mod rights;
mod support;
mod versions;
