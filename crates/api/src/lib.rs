//! Where operators' programs arrive: routes, authentication, wire types, errors, OpenAPI.
//!
//! This crate carries `CONTRACT.md` over HTTP/1.1 and decides nothing about certificates: it authenticates,
//! counts, reads, asks [`certward_lifecycle::Lifecycle`] and words the answer. HTTP types never leave it.
//!
//! Promises: a request is checked in one fixed order (see `access.rs`); a body is read only from an authenticated,
//! admitted caller, and is wiped after use; whatever a client sends, the answer is never a 5xx of our making;
//! nothing of a body, a header or a query is ever logged.
//!
//! Start reading at [`Api`], then `routes.rs`.

mod access;
mod access_log;
mod api_error;
mod auth;
mod body;
mod certificate;
mod connection;
mod context;
mod crowd;
mod detail;
mod error;
mod framing;
mod heads;
mod json;
mod limit;
mod login_guard;
mod metrics;
mod openapi;
mod path_id;
mod places;
mod prefer;
mod progress;
mod property;
mod readiness;
mod routes;
mod server;
mod settings;
mod store_trouble;
mod unreadable;
mod upload;
mod wire_time;

pub use api_error::ApiError;
pub use certificate::Reloader;
pub use metrics::{ApiMetrics, register_metrics};
pub use openapi::openapi;
pub use server::{Api, Bound};
pub use settings::{CertificateFiles, Deadlines, Limits, Settings};
